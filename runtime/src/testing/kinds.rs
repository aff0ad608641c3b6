//! Maps a URL to its test server, and an engine's kind to the default URL of tests.

use std::sync::Arc;

use super::test_server::TestServer;
use crate::backend::Backend;
use crate::dialect::{SchemeError, dialect_of};
use crate::error::{Error, StartError};
use crate::settings::EngineSettings;

type Find = fn(&EngineSettings) -> Result<Arc<dyn TestServer>, Error>;

/// The test servers, by the database's name.
const KINDS: &[(&str, Find)] = &[
    #[cfg(feature = "postgres")]
    ("Postgres", super::postgres::test_server),
    #[cfg(feature = "postgres")]
    ("CockroachDB", super::cockroach::test_server),
    #[cfg(feature = "mysql")]
    ("MySQL", super::mysql::test_server),
    #[cfg(feature = "sqlite")]
    ("SQLite", super::sqlite::test_server),
];

/// The test server of these settings' URL.
///
/// # Errors
///
/// An unknown scheme, one whose feature is off, or a URL that the driver does not accept.
pub(super) fn server_of(settings: &Arc<EngineSettings>) -> Result<Arc<dyn TestServer>, Error> {
    let settings = &for_server(settings);
    let dialect =
        dialect_of(&settings.url).map_err(|error| StartError::scheme(settings, &error))?;
    match KINDS.iter().find(|(name, _)| *name == dialect.name) {
        Some((_, find)) => find(settings),
        None => Err(StartError::scheme(settings, &SchemeError::FeatureOff(dialect)).into()),
    }
}

/// The settings of an engine for the connections of its test server, which uses the driver of the database itself.
pub(super) fn for_server(settings: &Arc<EngineSettings>) -> Arc<EngineSettings> {
    #[cfg(feature = "any")]
    let settings = &settings.without_functions_over::<sqlx::any::AnyConnectOptions>();
    Arc::clone(settings)
}

/// The default URLs of engines in tests, by the engine's kind.
const URLS: &[(&str, &str)] = &[
    #[cfg(all(feature = "ephemeral", feature = "postgres"))]
    (
        <sqlx::Postgres as Backend>::KIND,
        super::ephemeral::POSTGRES_URL,
    ),
    #[cfg(all(feature = "ephemeral", feature = "mysql"))]
    (<sqlx::MySql as Backend>::KIND, super::ephemeral::MYSQL_URL),
    // Names no file, because each test gets its own.
    #[cfg(feature = "sqlite")]
    (<sqlx::Sqlite as Backend>::KIND, "sqlite::memory:"),
];

/// The default URL of a test's engine of this kind; `None` when a URL must be set.
pub(crate) fn url_of_test<DB: Backend>() -> Option<&'static str> {
    let known = URLS.iter().find(|(kind, _)| *kind == DB::KIND);
    known.map(|(_, url)| *url)
}
