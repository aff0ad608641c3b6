//! SQLite.

use std::time::Duration;

use sqlx::Sqlite;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};

use super::{Backend, Dialect, dialect};
use crate::settings::{DatabaseUrl, EngineSettings};

/// How long a statement waits for another connection's lock before it fails with `SQLITE_BUSY`.
///
/// The writers of a whole pool queue for one lock; a few seconds let them, and still report a writer that never ends.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

impl Backend for Sqlite {
    const KIND: &'static str = "SQLite";

    // A test needs no more than a file, and gets one of its own.
    const TEST_URL: Option<&'static str> = Some("sqlite::memory:");

    fn dialect(url: &DatabaseUrl) -> Option<&'static Dialect> {
        dialect::SQLITE
            .schemes
            .contains(&url.scheme())
            .then_some(&dialect::SQLITE)
    }

    fn options(url: &DatabaseUrl, settings: &EngineSettings) -> sqlx::Result<SqliteConnectOptions> {
        let url = url.expose();
        let options: SqliteConnectOptions = url.parse()?;
        let options = options
            .busy_timeout(BUSY_TIMEOUT)
            .statement_cache_capacity(settings.statement_cache as usize);
        // Readers beside one writer need the write-ahead log: <https://www.sqlite.org/wal.html>. A file that may not
        // be written, and memory, have none. The file of a test was copied with it.
        let options = if settings.isolated
            || (dialect::SQLITE.in_memory)(url)
            || url.contains("mode=ro")
            || url.contains("immutable=")
        {
            options
        } else {
            options.journal_mode(SqliteJournalMode::Wal)
        };
        Ok(super::log_statements(options, settings))
    }
}
