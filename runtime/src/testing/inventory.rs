//! Lists and removes the test databases of a server on request.

use std::sync::Arc;

use super::kinds::server_of;
use super::test_database::TestDatabase;
use super::test_server::TestServer;
use crate::backend::Backend;
use crate::engine::Engine;
use crate::error::Error;

/// Lists the test databases on this engine's server, or for SQLite the kept files.
///
/// The engine need not be started. A server needs no manual cleaning: this function and [`remove_test_databases`] are for
/// inspection, and for restoring a server to its earlier state.
///
/// ```
/// # use poolhouse::{SqliteEngine, engine_finder_with, Settings, testing};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), poolhouse::Error> {
/// # let settings = Settings::new().url("sqlite::memory:");
/// let db: SqliteEngine = engine_finder_with(&settings)?;
/// for database in testing::test_databases(&db).await? {
///     println!("{database}");
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// The server could not be reached or queried.
pub fn test_databases<DB: Backend>(
    engine: &Engine<DB>,
) -> impl Future<Output = Result<Vec<TestDatabase>, Error>> + Send + '_ {
    async move { server(engine)?.list().await }
}

/// Removes the unused test databases on this engine's server, kept ones included, and returns them.
///
/// Call it between test runs: a current run keeps its leased databases, but may have to build a template again.
///
/// # Errors
///
/// The server could not be reached or queried, or a database could not be removed. On a server the other databases are removed
/// all the same, and the first error is returned at the end. On SQLite the removal stops there.
///
/// # Cancellation
///
/// The removal continues in the background.
pub fn remove_test_databases<DB: Backend>(
    engine: &Engine<DB>,
) -> impl Future<Output = Result<Vec<TestDatabase>, Error>> + Send + '_ {
    async move { server(engine)?.remove_unused().await }
}

/// The test server of an engine, past its pooler as for tests.
fn server<DB: Backend>(engine: &Engine<DB>) -> Result<Arc<dyn TestServer>, Error> {
    server_of(&engine.connector().direct().settings)
}
