//! What tests have made on a server: listed and removed on request.

use super::kinds::server_of;
use super::test_database::TestDatabase;
use crate::backend::Backend;
use crate::engine::Engine;
use crate::error::Error;

/// The databases that tests have made on this engine's server, or for SQLite the files of tests that were kept.
///
/// The engine need not be started. Nothing has to be cleaned up by hand, ever; this is for those who want to see, or who
/// want a server back as it was.
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
/// The server could not be reached or asked.
pub fn test_databases<DB: Backend>(
    engine: &Engine<DB>,
) -> impl Future<Output = Result<Vec<TestDatabase>, Error>> + Send + '_ {
    async move { server_of(&engine.connector().settings)?.list().await }
}

/// Removes the databases that tests have made on this engine's server and that no test uses, the kept ones too, and tells
/// which they were.
///
/// A run that is under way keeps what it holds, but may have to make a template once more; do this between runs.
///
/// # Errors
///
/// The server could not be reached or asked, or refused to drop a database. Those before it are gone.
///
/// # Cancellation
///
/// The removal goes on in the background.
pub fn remove_test_databases<DB: Backend>(
    engine: &Engine<DB>,
) -> impl Future<Output = Result<Vec<TestDatabase>, Error>> + Send + '_ {
    async move {
        server_of(&engine.connector().settings)?
            .remove_unused()
            .await
    }
}
