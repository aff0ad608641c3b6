//! SQLite: a file, or memory.

use std::sync::OnceLock;

use super::statements::Syntax;
use super::{Diagnosis, Dialect, IsolationLevel, MigrationsLock, inspection, sql};

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
    // A COMMIT outside of a transaction is an error: <https://www.sqlite.org/lang_transaction.html>.
    mark: None,
    lost: |code, message| code == Some("1") && message.ends_with("no transaction is active"),
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
    migrations_lock: MigrationsLock::Driver,
    create_extension: None,
};
