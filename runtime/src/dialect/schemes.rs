//! From a URL's scheme to its database.

use super::cockroach::COCKROACH;
use super::description::Dialect;
use super::mysql::MYSQL;
use super::postgres::POSTGRES;
use super::sqlite::SQLITE;
use crate::settings::DatabaseUrl;

/// Every database that a URL can name, and whether its feature is on; one that is off is here so that an error can name
/// its feature.
const DIALECTS: &[(&Dialect, bool)] = &[
    (&POSTGRES, cfg!(feature = "postgres")),
    (&COCKROACH, cfg!(feature = "postgres")),
    (&MYSQL, cfg!(feature = "mysql")),
    (&SQLITE, cfg!(feature = "sqlite")),
];

/// Why a URL's scheme leads to no database.
#[derive(Debug)]
pub(crate) enum SchemeError {
    /// No database has it.
    Unknown {
        /// The schemes that there are.
        known: Vec<&'static str>,
    },
    /// The feature of its database is off.
    FeatureOff(&'static Dialect),
}

/// The dialect of a URL, whose feature is on.
///
/// # Errors
///
/// An unknown scheme, or one whose feature is off.
pub(crate) fn dialect_of(url: &DatabaseUrl) -> Result<&'static Dialect, SchemeError> {
    let found = DIALECTS
        .iter()
        .find(|(dialect, _)| dialect.schemes.contains(&url.scheme()));
    match found {
        Some((dialect, true)) => Ok(dialect),
        Some((dialect, false)) => Err(SchemeError::FeatureOff(dialect)),
        None => {
            let schemes = DIALECTS.iter().flat_map(|(dialect, _)| dialect.schemes);
            Err(SchemeError::Unknown {
                known: schemes.copied().collect(),
            })
        }
    }
}

/// The dialect of this name, whether its feature is on or not.
pub(crate) fn dialect_named(name: &str) -> Option<&'static Dialect> {
    let found = DIALECTS.iter().find(|(dialect, _)| dialect.name == name);
    found.map(|(dialect, _)| *dialect)
}

/// Whether an error is a conflict with another transaction, on whichever database: their codes differ.
#[cfg(feature = "web")]
pub(crate) fn is_conflict(error: &sqlx::Error) -> bool {
    let mut dialects = DIALECTS.iter();
    dialects.any(|(dialect, _)| dialect.is_conflict(error))
}
