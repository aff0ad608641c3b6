//! One database, as plain data.

use std::error::Error;
use std::iter::successors;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sqlx::error::DatabaseError;

use super::diagnosis::{self, Diagnosis};
use super::inspection::Inspection;
use super::statements::Syntax;
use super::transaction::{Characteristics, IsolationLevel};

/// Rolls back what a held connection's transaction did, and fails if the connection is no longer in it.
pub(crate) const STILL_HELD: &str = "ROLLBACK TO SAVEPOINT poolhouse_test";

/// One database, as plain data.
///
/// A dialect is data and not a trait, so that `Any` can pick one by the URL's scheme, and so that an error can name a
/// database whose feature is off.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact about a database or its driver"
)]
pub(crate) struct Dialect {
    /// The name that errors and logs print.
    pub(crate) name: &'static str,
    /// OpenTelemetry's name of the system with this version:
    /// <https://opentelemetry.io/docs/specs/semconv/registry/attributes/db/#db-system-name>.
    pub(crate) system: fn(version: Option<&str>) -> &'static str,
    /// The default port of a URL; `None` where there is no server.
    pub(crate) default_port: Option<u16>,
    /// The queries of `POOLHOUSE_RUN=check`.
    pub(crate) inspection: &'static Inspection,
    /// The feature of this crate that turns the database on.
    pub(crate) feature: &'static str,
    /// The schemes of its URLs.
    pub(crate) schemes: &'static [&'static str],
    /// Whether the driver knows a parameter of URLs. The driver ignores an unknown one, or logs it with its value.
    pub(crate) knows_parameter: fn(name: &str) -> bool,
    /// How a session is identified and terminated; `None` where there is no server.
    pub(crate) session: Option<SessionCommands>,
    /// A query for the server's role: 1 when its sessions are read-only, 2 when it follows another server, 3 when both, and
    /// 0 otherwise; 4 more when it is cut off from its cluster. `None` where there are no hosts.
    pub(crate) session_state: Option<&'static str>,
    /// Whether a server that is cut off from its cluster still opens sessions, and then refuses their statements.
    pub(crate) hosts_may_be_cut_off: bool,
    /// A query for the server's write position, as the text of a [`LogPosition`](super::LogPosition); `None` where no server
    /// follows another.
    pub(crate) written: Option<&'static str>,
    /// A query for the server's version as text, if the answer of `identify` does not contain it.
    pub(crate) version: &'static str,
    /// The cached version, where the server is a library of this process.
    pub(crate) library: Option<&'static OnceLock<String>>,
    /// A query for 1 if a pooler seems to be between the driver and the server, and 0 otherwise.
    pub(crate) pooler_sign: Option<&'static str>,
    /// The diagnosis of a failed connection attempt.
    pub(crate) diagnose: fn(code: Option<&str>, message: &str) -> Option<Diagnosis>,
    /// The statement that begins such a transaction, `None` for the driver's own; or the option that the database lacks.
    pub(crate) begin: fn(&Characteristics) -> Result<Option<String>, &'static str>,
    /// The lowest isolation level of any transaction.
    pub(crate) least_isolation: IsolationLevel,
    /// How server settings are set for one transaction; `None` where that is not possible.
    pub(crate) local: Option<Local>,
    /// Whether an error is a conflict with another transaction, after which the same work may succeed.
    pub(crate) conflict: fn(&dyn DatabaseError) -> bool,
    /// The codes of errors that are such a conflict in a transaction that has run a statement before.
    pub(crate) conflict_once_begun: &'static [&'static str],
    /// Whether a `BEGIN` inside of a transaction commits that one, and a `ROLLBACK` outside of one does nothing.
    pub(crate) begin_commits: bool,
    /// How it reads the text of statements.
    pub(crate) syntax: Syntax,
    /// The words of statements whose locks a session holds outside of transactions, and the statement that gives them up.
    pub(crate) locks: Option<(&'static [&'static str], &'static str)>,
    /// Whether the driver ignores the next rollback that it queues, after a commit or rollback whose caller went away before its
    /// answer.
    pub(crate) remembers_ends: bool,
    /// Whether the driver expects an answer before it has checked what it sends.
    pub(crate) expects_answer_first: bool,
    /// The code of the error that says only that the transaction has failed before.
    pub(crate) failed_before: Option<&'static str>,
    /// How a `COMMIT` is kept from ending another transaction than the one that began; `None` where a `COMMIT` outside of a
    /// transaction is an error and nothing outside ends one.
    pub(crate) mark: Option<Mark>,
    /// Where `SAVEPOINT` outside of a transaction begins one: a statement that does nothing outside, and the end of its error inside
    /// of one.
    pub(crate) inside: Option<(&'static str, &'static str)>,
    /// Whether an error at a commit says that the transaction was no longer open.
    pub(crate) lost: fn(code: Option<&str>, message: &str) -> bool,
    /// The first words of statements that end a transaction by themselves.
    pub(crate) ends_transaction: &'static [&'static str],
    /// The words after which a transaction may be open that the driver does not count.
    pub(crate) begins_transaction: &'static [&'static str],
    /// A query whose answer is the given text if the session is as it was opened. A text with no quote in it.
    pub(crate) is_intact: fn(&str) -> String,
    /// Whether an error at a commit leaves its outcome unknown, although the session goes on.
    pub(crate) outcome_unknown: fn(code: Option<&str>, message: &str) -> bool,
    /// Whether a URL names a database in this process's memory, which is lost with its last connection.
    pub(crate) in_memory: fn(url: &str) -> bool,
    /// Whether connections are closed one after another, because the last one does work for the database.
    pub(crate) closes_in_turn: bool,
    /// How a connection is held inside a transaction for a whole test. First, statements that make every later transaction
    /// read-only, so that no write bypasses this one, and that turn off the server's limits for idle sessions and
    /// transactions. Second, the statement that begins this one.
    pub(crate) held_transaction: (Option<&'static str>, &'static str),
    /// The lock that keeps two programs from running migrations at the same time; `None` where there is none.
    pub(crate) migrations_lock: Option<MigrationsLock>,
    /// The statement that creates an extension when it is missing; `None` where there are no extensions.
    pub(crate) create_extension: Option<fn(&str) -> String>,
}

/// How server settings are set for one transaction.
#[derive(Debug)]
pub(crate) struct Local {
    /// Statements that set these names and values for the transaction.
    pub(crate) set: fn(&[(String, String)]) -> String,
    /// Statements that store the values of these names from before the savepoint at this depth.
    pub(crate) store: fn(&[(String, String)], depth: usize) -> String,
    /// Statements that restore the values from before the savepoint at this depth.
    pub(crate) restore: fn(&[(String, String)], depth: usize) -> String,
    /// A statement that limits the time of each statement, unless a lower limit is set.
    pub(crate) statement_limit: Option<fn(Duration) -> String>,
}

/// Distinguishes a transaction from the one that is open at its `COMMIT`. Neither half costs a round trip.
#[derive(Debug)]
pub(crate) struct Mark {
    /// Marks the transaction, in the message that begins it.
    pub(crate) set: Option<&'static str>,
    /// Fails in a transaction without the mark, in a failed one, and outside of any.
    pub(crate) check: &'static str,
    /// The check and the `COMMIT` in one message; after an error, the server runs nothing more of it.
    pub(crate) commit: &'static str,
}

/// How a session is identified, and terminated over another connection.
#[derive(Debug)]
pub(crate) struct SessionCommands {
    /// Statements that every new session runs. Their answer has the session's id and perhaps the server's version.
    pub(crate) identify: &'static str,
    /// The code of the error with which another database of the same protocol answers `identify`, and its name.
    pub(crate) unknown_to: Option<(&'static str, &'static str)>,
    /// Parses the answer of `identify`.
    pub(crate) read: fn(answer: &str) -> SessionAnswer,
    /// The statement that terminates the session with this id, and no other one with the same id: a later one, or one of
    /// another server behind the same address. `since` is a time at which the session existed, and what distinguishes its
    /// server, in the server's own format.
    pub(crate) end: fn(id: &str, since: Option<&str>) -> String,
    /// Whether the error of that statement says that the user may not terminate the session.
    pub(crate) end_denied: fn(code: Option<&str>, message: &str) -> bool,
    /// A query for those of these ids that are current sessions, separated by spaces; `None` where ids are never used again
    /// and no such query exists.
    pub(crate) living: Option<fn(ids: &str) -> String>,
}

impl SessionCommands {
    /// The database that answers `identify` with this error, if there is one.
    pub(crate) fn other_database(&self, error: &sqlx::Error) -> Option<SessionAnswer> {
        let (code, name) = self.unknown_to?;
        let is_unknown = error.as_database_error()?.code()? == code;
        is_unknown.then_some(SessionAnswer::OtherDatabase(name))
    }
}

/// The answer of a new session.
pub(crate) enum SessionAnswer {
    /// The session's id on its server, and the server's version if the answer contains it.
    Id {
        id: Arc<str>,
        since: Option<Arc<str>>,
        version: Option<String>,
    },
    /// The server is not the database that the URL names, but the one of this name with the same protocol.
    OtherDatabase(&'static str),
}

/// The lock that keeps two programs from running migrations at the same time.
#[derive(Debug)]
pub(crate) struct MigrationsLock {
    /// A query for the name of the database, of which the lock is made.
    pub(crate) database: &'static str,
    /// A query that takes the lock and does not wait for it: 1 when it is taken, 0 while another session has it.
    pub(crate) take: fn(database: &str) -> String,
    /// A query that gives it back: 1 when this session had it.
    pub(crate) give_back: fn(database: &str) -> String,
    /// Whether it is the lock that the driver takes, or one besides.
    pub(crate) is_drivers: bool,
}

impl Dialect {
    /// Whether an error is a conflict with another transaction.
    pub(crate) fn is_conflict(&self, error: &sqlx::Error) -> bool {
        error.as_database_error().is_some_and(self.conflict)
    }

    /// Whether an error is a conflict in a transaction that has run a statement before.
    pub(crate) fn is_conflict_once_begun(&self, error: &sqlx::Error) -> bool {
        error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code)
            .is_some_and(|code| self.conflict_once_begun.contains(&&*code))
    }

    /// Whether an error, or one of its sources, is a conflict with another transaction.
    pub(crate) fn conflict_among_sources(&self, error: &(dyn Error + 'static)) -> bool {
        let mut errors = successors(Some(error), |&error| error.source());
        errors.any(|error| {
            // An error that is transparent over a `sqlx::Error` returns the source of that error as its own.
            let inner = error.downcast_ref::<Box<dyn DatabaseError>>();
            inner.is_some_and(|error| (self.conflict)(&**error))
                || error
                    .downcast_ref()
                    .is_some_and(|error| self.is_conflict(error))
        })
    }

    /// Whether a commit failed because its transaction was no longer open.
    pub(crate) fn is_lost(&self, error: &sqlx::Error) -> bool {
        error
            .as_database_error()
            .is_some_and(|error| (self.lost)(error.code().as_deref(), error.message()))
    }

    /// Whether an error says only that the transaction has failed before.
    pub(crate) fn has_failed_before(&self, error: &sqlx::Error) -> bool {
        let code = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code);
        code.is_some() && code.as_deref() == self.failed_before
    }

    /// Whether the outcome of a commit with this error is unknown.
    pub(crate) fn leaves_outcome_unknown(&self, error: &sqlx::Error) -> bool {
        error
            .as_database_error()
            .is_some_and(|error| (self.outcome_unknown)(error.code().as_deref(), error.message()))
    }

    /// The diagnosis of a connect error: by the database's own codes, or by the kind of network or driver error.
    pub(crate) fn diagnosis(&self, error: &sqlx::Error) -> Diagnosis {
        let sqlx::Error::Database(database) = error else {
            return diagnosis::of_driver(error);
        };
        (self.diagnose)(database.code().as_deref(), database.message()).unwrap_or_else(|| {
            Diagnosis::fatal_here(
                "the server rejected the connection",
                "see the server's message and its log",
            )
        })
    }
}
