//! The lookup of a database by a URL's scheme.

use super::cockroach::COCKROACH;
use super::description::Dialect;
use super::mysql::MYSQL;
use super::postgres::POSTGRES;
use super::sqlite::SQLITE;
use crate::settings::DatabaseUrl;

/// Every database that a URL can name, and whether its feature is on. Those with the feature off are listed so that an error
/// can name the feature.
const DIALECTS: &[(&Dialect, bool)] = &[
    (&POSTGRES, cfg!(feature = "postgres")),
    (&COCKROACH, cfg!(feature = "postgres")),
    (&MYSQL, cfg!(feature = "mysql")),
    (&SQLITE, cfg!(feature = "sqlite")),
];

/// Why there is no database for a URL's scheme.
#[derive(Debug)]
pub(crate) enum SchemeError {
    /// No database has this scheme.
    Unknown {
        /// All known schemes.
        known: Vec<&'static str>,
    },
    /// The feature of the scheme's database is off.
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

/// Whether an error is a conflict with another transaction on any of the databases, whose codes differ. It is not known here
/// whether its transaction has run a statement before: without that, the statement has waited for the other transaction.
#[cfg(feature = "web")]
pub(crate) fn is_conflict(error: &sqlx::Error) -> bool {
    let mut dialects = DIALECTS.iter();
    dialects.any(|(dialect, _)| dialect.is_conflict(error) || dialect.is_conflict_once_begun(error))
}
