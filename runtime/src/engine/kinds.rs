//! From a URL's scheme to an engine of its kind.

use std::sync::Arc;

use super::erased::{ErasedEngine, erased};
use crate::dialect::dialect_of;
use crate::error::{Error, StartError};
use crate::settings::EngineSettings;

type NewEngine = fn(Arc<EngineSettings>) -> Result<Arc<dyn ErasedEngine>, Error>;

/// The constructor of each kind of engine, by the feature of its database.
const KINDS: &[(&str, NewEngine)] = &[
    #[cfg(feature = "postgres")]
    ("postgres", erased::<sqlx::Postgres>),
    #[cfg(feature = "mysql")]
    ("mysql", erased::<sqlx::MySql>),
    #[cfg(feature = "sqlite")]
    ("sqlite", erased::<sqlx::Sqlite>),
];

/// An engine of the kind that these settings' URL names, not started.
///
/// # Errors
///
/// An unknown scheme, one whose feature is off, or a URL that the driver does not accept.
pub(crate) fn engine_of(settings: Arc<EngineSettings>) -> Result<Arc<dyn ErasedEngine>, Error> {
    let dialect =
        dialect_of(&settings.url).map_err(|error| StartError::scheme(&settings, &error))?;
    let kind = KINDS
        .iter()
        .find(|(feature, _)| *feature == dialect.feature);
    match kind {
        Some((_, build)) => build(settings),
        None => Err(StartError::feature_off(&settings, dialect).into()),
    }
}
