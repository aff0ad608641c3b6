//! SQLite.

use std::time::Duration;

use once_cell::sync::Lazy;
use sqlx::Sqlite;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use super::Backend;
use crate::dialect::{self, Dialect};
use crate::settings::{DatabaseUrl, EngineSettings, TestFile};

/// How long a statement waits for another connection's lock before it fails with `SQLITE_BUSY`.
///
/// The writers of a whole pool queue for one lock; a few seconds let them, and still report a writer that never ends.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The driver's own defaults. To make them takes longer than all that is set here, which a test would notice.
static DEFAULTS: Lazy<SqliteConnectOptions> = Lazy::new(SqliteConnectOptions::new);

impl Backend for Sqlite {
    const KIND: &'static str = "SQLite";

    fn dialect(url: &DatabaseUrl) -> Option<&'static Dialect> {
        dialect::SQLITE
            .schemes
            .contains(&url.scheme())
            .then_some(&dialect::SQLITE)
    }

    fn options(url: &DatabaseUrl, settings: &EngineSettings) -> sqlx::Result<SqliteConnectOptions> {
        let options = match &settings.file {
            Some(file) => of_test(file),
            None => of_url(url)?,
        };
        let options = options
            .busy_timeout(BUSY_TIMEOUT)
            .statement_cache_capacity(settings.statement_cache as usize);
        Ok(super::options::log_statements(options, settings))
    }
}

fn of_url(url: &DatabaseUrl) -> sqlx::Result<SqliteConnectOptions> {
    let url = url.expose();
    let options: SqliteConnectOptions = url.parse()?;
    // Readers beside one writer need the write-ahead log: <https://www.sqlite.org/wal.html>. A file that may not be
    // written, and memory, have none.
    let has_no_log =
        (dialect::SQLITE.in_memory)(url) || url.contains("mode=ro") || url.contains("immutable=");
    Ok(if has_no_log {
        options
    } else {
        options.journal_mode(SqliteJournalMode::Wal)
    })
}

/// The file of a test was copied with its write-ahead log switched on.
fn of_test(file: &TestFile) -> SqliteConnectOptions {
    let options = DEFAULTS.clone().filename(&file.path);
    if file.is_on_disk {
        // Nothing is to survive a crash of the machine, so nothing has to reach the disk.
        options.synchronous(SqliteSynchronous::Off)
    } else {
        // Each further statement makes a session longer to open.
        options
    }
}
