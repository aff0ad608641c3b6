//! One database, as plain data.

use std::error::Error;
use std::iter::successors;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sqlx::error::DatabaseError;

use super::diagnosis::{self, Diagnosis};
use super::inspection::Inspection;
use super::transaction::{Characteristics, IsolationLevel};

/// The statement that fails when a connection is not in the transaction any more that it was held in; it undoes what was done
/// there.
pub(crate) const STILL_HELD: &str = "ROLLBACK TO SAVEPOINT poolhouse_test";

/// One database, as plain data.
///
/// It is data and not a trait so that `Any` can pick one by the URL's scheme, and so that an error can speak of a
/// database whose feature is off.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// The name that errors and logs print.
    pub(crate) name: &'static str,
    /// OpenTelemetry's name of the system that answers with a version:
    /// <https://opentelemetry.io/docs/specs/semconv/registry/attributes/db/#db-system-name>.
    pub(crate) system: fn(version: Option<&str>) -> &'static str,
    /// The port that a URL without one means; `None` where there is no server.
    pub(crate) default_port: Option<u16>,
    /// What an operator asks before a program runs there.
    pub(crate) inspection: &'static Inspection,
    /// The feature of this crate that turns the database on.
    pub(crate) feature: &'static str,
    /// The schemes of its URLs.
    pub(crate) schemes: &'static [&'static str],
    /// Whether the driver knows a parameter of URLs. One that it does not know it ignores or logs, with its value.
    pub(crate) knows_parameter: fn(name: &str) -> bool,
    /// How a session is told from others; `None` when there is no server.
    pub(crate) session: Option<SessionCommands>,
    /// A query for what the server says of itself: 1 when its sessions only read, 2 when it follows another server, 3 when
    /// both, and 0 else. `None` where there are no hosts.
    pub(crate) session_state: Option<&'static str>,
    /// A query for how far the server has written, as the text of a [`Position`](super::Position); `None` where no server follows
    /// another.
    pub(crate) written: Option<&'static str>,
    /// A query for the server's version as text, for where the greeting does not tell it.
    pub(crate) version: &'static str,
    /// The version, once asked for, where the server is a library of this process.
    pub(crate) library: Option<&'static OnceLock<String>>,
    /// A query for 1 where a pooler seems to stand between the driver and the server, and 0 elsewhere.
    pub(crate) pooler_sign: Option<&'static str>,
    /// What a failed connection attempt means.
    pub(crate) diagnose: fn(code: Option<&str>, message: &str) -> Option<Diagnosis>,
    /// The statement that begins a transaction like this, `None` for the driver's own; or the option that there is not.
    pub(crate) begin: fn(&Characteristics) -> Result<Option<String>, &'static str>,
    /// The isolation level that each transaction has at the least.
    pub(crate) least_isolation: IsolationLevel,
    /// How a setting of the server's is set for one transaction; `None` where there is no such thing.
    pub(crate) local: Option<Local>,
    /// Whether an error is a conflict with another transaction, after which the same work may succeed.
    pub(crate) conflict: fn(code: Option<&str>, message: &str) -> bool,
    /// Whether a `BEGIN` inside of a transaction commits that one, and a `ROLLBACK` outside of any does nothing.
    pub(crate) begin_commits: bool,
    /// How a `COMMIT` is kept from ending another transaction than the one that began; `None` where the database refuses a
    /// `COMMIT` outside of a transaction, and of one that has failed.
    pub(crate) mark: Option<Mark>,
    /// Whether an error at a commit says that the transaction was not open any more.
    pub(crate) lost: fn(code: Option<&str>, message: &str) -> bool,
    /// The first words of statements that end a transaction by themselves.
    pub(crate) ends_transaction: &'static [&'static str],
    /// Whether an error at a commit leaves open what became of it, although the session goes on.
    pub(crate) outcome_unknown: fn(code: Option<&str>, message: &str) -> bool,
    /// Whether a URL names a database that lives in this process's memory and dies with its last connection.
    pub(crate) in_memory: fn(url: &str) -> bool,
    /// Whether connections say goodbye one after another: the last one has something to do for the database.
    pub(crate) closes_in_turn: bool,
    /// How a connection is held inside a transaction for a whole test: statements after which every later transaction can only
    /// read, so that nothing gets past this one, and which turn off the server's limits for idle sessions and transactions; and
    /// the statement that begins this one.
    pub(crate) hold: (Option<&'static str>, &'static str),
    /// What keeps two programs from running migrations at the same time.
    pub(crate) migrations_lock: MigrationsLock,
    /// The statement that creates an extension when it is missing; `None` where there are no extensions.
    pub(crate) create_extension: Option<fn(&str) -> String>,
}

/// How settings of the server's are set for one transaction.
#[derive(Debug)]
pub(crate) struct Local {
    /// Statements that set these, names and values, for the transaction.
    pub(crate) set: fn(&[(String, String)]) -> String,
    /// Statements that set these for the savepoint at this depth, and remember what they were.
    pub(crate) set_nested: fn(&[(String, String)], depth: usize) -> String,
    /// Statements that set these to what they were before the savepoint at this depth.
    pub(crate) restore: fn(&[(String, String)], depth: usize) -> String,
    /// A statement that sets the limit of each statement, unless it is lower already.
    pub(crate) statement_limit: Option<fn(Duration) -> String>,
}

/// What tells a transaction from the one that is open at its `COMMIT`. Neither half costs a round trip.
#[derive(Debug)]
pub(crate) struct Mark {
    /// Marks the transaction, in the message that begins it.
    pub(crate) set: Option<&'static str>,
    /// Fails in a transaction without the mark, in one that has failed, and outside of any.
    pub(crate) check: &'static str,
    /// The check and the `COMMIT` in one message, of which the server runs nothing after an error.
    pub(crate) commit: &'static str,
}

/// How a session is told from others, and ended from outside.
#[derive(Debug)]
pub(crate) struct SessionCommands {
    /// Statements that every new session runs, and that tell its id and perhaps the server's version.
    pub(crate) greet: &'static str,
    /// Reads the answer.
    pub(crate) read: fn(answer: &str) -> Greeted,
    /// The statement that ends the session with this id, and no later one that the server gave the same id. `since` is a
    /// moment when it was there, in the server's own words.
    pub(crate) end: fn(id: &str, since: Option<&str>) -> String,
    /// A query for those of these ids that are sessions now, with spaces between; `None` where ids are never used again and
    /// nothing tells.
    pub(crate) living: Option<fn(ids: &str) -> String>,
}

/// What a new session has told.
pub(crate) enum Greeted {
    /// The id by which its server knows it, and the server's version if the answer holds it.
    Id {
        id: Arc<str>,
        since: Option<Arc<str>>,
        version: Option<String>,
    },
    /// The URL says one database, and another answers that speaks its protocol: the one of this name.
    Speaks(&'static str),
}

/// What keeps two programs from running migrations at the same time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MigrationsLock {
    /// The driver's own lock.
    Driver,
    /// Queries for 1 that take and give back a lock of ours, besides the driver's.
    Queries {
        take: &'static str,
        give_back: &'static str,
    },
    /// Nothing: the database has no such locks.
    Nothing,
}

impl Dialect {
    /// Whether an error is a conflict with another transaction.
    pub(crate) fn is_conflict(&self, error: &sqlx::Error) -> bool {
        error
            .as_database_error()
            .is_some_and(|error| (self.conflict)(error.code().as_deref(), error.message()))
    }

    /// Whether an error, or one of its sources, is a conflict with another transaction.
    pub(crate) fn conflict_among_sources(&self, error: &(dyn Error + 'static)) -> bool {
        let mut errors = successors(Some(error), |&error| error.source());
        errors.any(|error| {
            // An error that is transparent about a `sqlx::Error` has that one's source for its own.
            let inner = error.downcast_ref::<Box<dyn DatabaseError>>();
            inner.is_some_and(|error| (self.conflict)(error.code().as_deref(), error.message()))
                || error
                    .downcast_ref()
                    .is_some_and(|error| self.is_conflict(error))
        })
    }

    /// Whether a commit that failed so found that its transaction was not open any more.
    pub(crate) fn is_lost(&self, error: &sqlx::Error) -> bool {
        error
            .as_database_error()
            .is_some_and(|error| (self.lost)(error.code().as_deref(), error.message()))
    }

    /// Whether nobody knows what became of a commit that failed so.
    pub(crate) fn leaves_outcome_unknown(&self, error: &sqlx::Error) -> bool {
        error
            .as_database_error()
            .is_some_and(|error| (self.outcome_unknown)(error.code().as_deref(), error.message()))
    }

    /// Reads a connect error: the database's own codes first, then what every network has in common.
    pub(crate) fn diagnosis(&self, error: &sqlx::Error) -> Diagnosis {
        let sqlx::Error::Database(database) = error else {
            return diagnosis::of_driver(error);
        };
        (self.diagnose)(database.code().as_deref(), database.message()).unwrap_or_else(|| {
            Diagnosis::fatal(
                "the server rejected the connection",
                "see the server's message and its log",
            )
        })
    }
}
