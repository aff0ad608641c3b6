//! SQLite.

use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::Duration;

use sqlx::Sqlite;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use super::Backend;
use crate::dialect::{self, Dialect};
use crate::settings::{DatabaseUrl, EngineSettings, TestFile};

/// How long a statement waits for another connection's lock before it fails with `SQLITE_BUSY`.
///
/// The writers of a whole pool queue for one lock. A few seconds are enough for them, and a writer that never ends is still
/// reported.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The driver's own defaults. Their creation takes longer than all settings here, which is noticeable in a test.
static DEFAULTS: LazyLock<SqliteConnectOptions> = LazyLock::new(SqliteConnectOptions::new);

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

    fn database_of(options: &SqliteConnectOptions) -> Option<String> {
        Some(options.get_filename().to_string_lossy().into_owned())
    }
}

/// The URL under which all connections have the same database. `Any` passes it to the driver for each connection.
///
/// # Errors
///
/// Each connection would have a database of its own.
pub(super) fn one_database(url: &DatabaseUrl) -> sqlx::Result<Cow<'_, str>> {
    dialect::one_database(url.expose()).map_err(|reason| sqlx::Error::Configuration(reason.into()))
}

fn of_url(url: &DatabaseUrl) -> sqlx::Result<SqliteConnectOptions> {
    let options: SqliteConnectOptions = one_database(url)?.parse()?;
    let url = url.expose();
    // Readers beside one writer need the write-ahead log: <https://www.sqlite.org/wal.html>. Read-only files and in-memory
    // databases have none.
    let has_no_log =
        (dialect::SQLITE.in_memory)(url) || url.contains("mode=ro") || url.contains("immutable=");
    Ok(if has_no_log {
        options
    } else {
        options.journal_mode(SqliteJournalMode::Wal)
    })
}

/// Options for a test's file, which was copied with its write-ahead log switched on.
fn of_test(file: &TestFile) -> SqliteConnectOptions {
    let options = DEFAULTS.clone().filename(&file.path);
    if file.is_on_disk {
        // The data need not survive a system crash, so no write has to reach the disk.
        options.synchronous(SqliteSynchronous::Off)
    } else {
        // Each further statement would make a session slower to open.
        options
    }
}
