//! SQLite: a file, or memory.

#[cfg(feature = "sqlite")]
use std::borrow::Cow;
use std::sync::OnceLock;
#[cfg(feature = "sqlite")]
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::statements::Syntax;
use super::{Diagnosis, Dialect, IsolationLevel, inspection, sql};

static VERSION: OnceLock<String> = OnceLock::new();

pub(crate) static SQLITE: Dialect = Dialect {
    name: "SQLite",
    system: |_| "sqlite",
    default_port: None,
    inspection: &inspection::SQLITE,
    feature: "sqlite",
    schemes: &["sqlite"],
    // The driver fails on unknown parameters, and names them without their values.
    knows_parameter: |_| true,
    session: None,
    session_state: None,
    hosts_may_be_cut_off: false,
    written: None,
    version: "SELECT sqlite_version()",
    library: Some(&VERSION),
    pooler_sign: None,
    // <https://www.sqlite.org/rescode.html>
    diagnose: |code, _| {
        Some(match code? {
            "14" | "526" | "782" | "1038" => Diagnosis::fatal(
                "the database file cannot be opened",
                "create its folder and give this user the right to write there (SQLite writes files beside the database), \
                 or add ?mode=rwc to the url when the file is to be created",
            ),
            "8" | "264" | "520" | "776" | "1032" | "1288" | "1544" => Diagnosis::fatal(
                "the database file or its folder is read-only",
                "give this user the right to write to the file and its folder, or add ?mode=ro to the url",
            ),
            "26" => Diagnosis::fatal(
                "the file is not a SQLite database",
                "correct the path in the url",
            ),
            "5" | "261" => {
                Diagnosis::retry("another process has locked the database", "wait for it")
            }
            _ => return None,
        })
    },
    // <https://www.sqlite.org/lang_transaction.html>: each transaction is serializable.
    begin: |options| match options {
        options if options.deferrable => Err("DEFERRABLE"),
        options if options.read_only => Err("READ ONLY"),
        _ => Ok(None),
    },
    least_isolation: IsolationLevel::Serializable,
    local: None,
    begin_commits: false,
    syntax: Syntax::Sqlite,
    locks: None,
    remembers_ends: true,
    expects_answer_first: false,
    // A reader that wants to write has to begin again: <https://www.sqlite.org/rescode.html#busy_snapshot>.
    // In memory, one that waits for another one that waits for it: <https://www.sqlite.org/unlock_notify.html>.
    conflict: |error| matches!(error.code().as_deref(), Some("517" | "6" | "262")),
    // A reader that wants to write while another connection writes is refused without a wait:
    // <https://www.sqlite.org/c3ref/busy_handler.html>. The first statement waits for `BUSY_TIMEOUT` before this error.
    conflict_once_begun: &["5"],
    failed_before: None,
    // A COMMIT outside of a transaction is an error, <https://www.sqlite.org/lang_transaction.html>. A savepoint as a mark would make
    // the library write a copy of each changed page to a temporary file.
    mark: None,
    // A savepoint outside of a transaction begins one: <https://www.sqlite.org/lang_savepoint.html>. The setting cannot be changed
    // inside of one, and has no effect for temporary tables: <https://www.sqlite.org/pragma.html#pragma_synchronous>.
    inside: Some((
        "PRAGMA temp.synchronous = 1",
        "Safety level may not be changed inside a transaction",
    )),
    lost: |code, message| {
        code == Some("1")
            && (message.ends_with("no transaction is active")
                || message
                    .strip_prefix("no such savepoint: ")
                    .is_some_and(|name| name.starts_with(sql::DRIVERS_SAVEPOINT)))
    },
    ends_transaction: &["COMMIT", "END", "ROLLBACK"],
    begins_transaction: sql::BEGINS_ON_SQLITE,
    is_intact: sql::echo,
    outcome_unknown: |_, _| false,
    // <https://www.sqlite.org/inmemorydb.html>
    in_memory: |url| url.contains(":memory:") || url.contains("mode=memory"),
    // The last connection writes the write-ahead log back and removes it. If two close at the same moment, each sees the
    // other and neither removes the log: <https://www.sqlite.org/wal.html#the_wal_file>
    closes_in_turn: true,
    // The file is the test's own.
    held_transaction: (None, "BEGIN; SAVEPOINT poolhouse_test"),
    // The driver's lock does nothing.
    migrations_lock: None,
    create_extension: None,
};

/// The URL under which all connections of an engine have the same database: a database in memory without a name gets one.
///
/// # Errors
///
/// Each connection would have a database of its own.
#[cfg(feature = "sqlite")]
pub(crate) fn one_database(url: &str) -> Result<Cow<'_, str>, &'static str> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);

    // As the driver reads it.
    let rest = url.trim_start_matches("sqlite://");
    let rest = rest.trim_start_matches("sqlite:");
    let (file, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    if !(SQLITE.in_memory)(url) {
        // <https://www.sqlite.org/inmemorydb.html#temp_db>
        return match file {
            "" | "file:" => Err(
                "it names no file, so that each connection would have a database of its own; sqlite:file.db is a file, \
                 and sqlite::memory: is one database in memory",
            ),
            _ => Ok(Cow::Borrowed(url)),
        };
    }
    // The last one of a name counts.
    let cache = url::form_urlencoded::parse(parameters.as_bytes())
        .filter(|(name, _)| name == "cache")
        .last();
    match cache.as_ref().map(|(_, value)| &**value) {
        Some("private") => {
            return Err(
                "with cache=private, each connection would have a database in memory of its own; leave it out",
            );
        }
        // All of a process share this one.
        Some("shared") if file == "file::memory:" => return Ok(Cow::Borrowed(url)),
        _ => {}
    }
    if !matches!(file, "" | "file:" | ":memory:" | "file::memory:") {
        return Ok(Cow::Borrowed(url));
    }
    let number = NUMBER.fetch_add(1, Relaxed);
    let more = if parameters.is_empty() { "" } else { "&" };
    Ok(Cow::Owned(format!(
        "sqlite:file:poolhouse-in-memory-{number}?mode=memory{more}{parameters}"
    )))
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::one_database;

    #[test]
    fn a_database_in_memory_gets_a_name() {
        for (url, parameters) in [
            ("sqlite::memory:", ""),
            ("sqlite://:memory:", ""),
            ("sqlite:?mode=memory", "&mode=memory"),
            ("sqlite://?mode=memory", "&mode=memory"),
            ("sqlite:file::memory:", ""),
            ("sqlite::memory:?cache=shared", "&cache=shared"),
        ] {
            let (one, other) = (one_database(url).unwrap(), one_database(url).unwrap());
            assert!(one.starts_with("sqlite:file:poolhouse-in-memory-"), "{one}");
            assert!(one.ends_with(&format!("?mode=memory{parameters}")), "{one}");
            assert_ne!(one, other);
        }
    }

    #[test]
    fn a_database_with_a_name_keeps_it() {
        for url in [
            "sqlite:a.db",
            "sqlite:///a.db?mode=ro&cache=private",
            "sqlite:file:a?mode=memory",
            "sqlite:a?mode=memory&cache=private&cache=shared",
            "sqlite:file::memory:?cache=shared",
        ] {
            assert_eq!(one_database(url).unwrap(), url);
        }
    }

    #[test]
    fn a_database_for_each_connection_is_refused() {
        for url in ["sqlite:", "sqlite://", "sqlite:?mode=rwc", "sqlite:file:"] {
            assert!(
                one_database(url)
                    .unwrap_err()
                    .starts_with("it names no file"),
                "{url}"
            );
        }
        for url in [
            "sqlite::memory:?cache=private",
            "sqlite:file:a?mode=memory&cache=private",
            "sqlite://?mode=memory&cache=shared&cache=private",
        ] {
            let reason = one_database(url).unwrap_err();
            assert!(reason.starts_with("with cache=private"), "{url}");
        }
    }
}
