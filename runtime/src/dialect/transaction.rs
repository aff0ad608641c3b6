//! What is asked of a transaction.

use std::fmt;

/// How a transaction is begun, and how often it is tried. For [`Engine::transaction_with`](crate::Engine::transaction_with).
///
/// ```
/// use poolhouse::{IsolationLevel, TransactionOptions};
///
/// let options = TransactionOptions::new()
///     .isolation(IsolationLevel::Serializable)
///     .retries(5);
/// # let _ = options;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct TransactionOptions {
    pub(crate) isolation: Option<IsolationLevel>,
    pub(crate) read_only: bool,
    pub(crate) deferrable: bool,
    pub(crate) retries: usize,
}

/// How far a transaction is kept apart from those beside it.
///
/// Each database has its own idea of them: [Postgres](https://www.postgresql.org/docs/current/transaction-iso.html),
/// [MariaDB](https://mariadb.com/kb/en/set-transaction/#isolation-levels). SQLite knows only
/// [serializable](https://www.sqlite.org/isolation.html) transactions, which are as good as any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsolationLevel {
    /// Sees what others have not committed yet. Postgres treats it as `ReadCommitted`.
    ReadUncommitted,
    /// Each statement sees what was committed before it.
    ReadCommitted,
    /// All statements see what was committed before the first.
    RepeatableRead,
    /// As if there were no other transaction; conflicts are errors, which are retried.
    Serializable,
}

impl fmt::Display for IsolationLevel {
    /// In the words of SQL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadUncommitted => "READ UNCOMMITTED",
            Self::ReadCommitted => "READ COMMITTED",
            Self::RepeatableRead => "REPEATABLE READ",
            Self::Serializable => "SERIALIZABLE",
        })
    }
}

impl TransactionOptions {
    /// The server's own isolation level, for reading and writing, with up to 10 retries.
    pub fn new() -> Self {
        Self {
            isolation: None,
            read_only: false,
            deferrable: false,
            retries: 10,
        }
    }

    /// The isolation level. Default: the server's, or the session's.
    pub fn isolation(mut self, level: IsolationLevel) -> Self {
        self.isolation = Some(level);
        self
    }

    /// The server refuses to write. Postgres, MySQL and MariaDB; an error on SQLite.
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Waits at its begin until it can neither fail nor disturb others; serializable and read-only as well, or it means
    /// nothing. [Postgres](https://www.postgresql.org/docs/current/sql-set-transaction.html) alone; elsewhere an error.
    pub fn deferrable(mut self) -> Self {
        self.deferrable = true;
        self
    }

    /// How often it is run again after a conflict with another transaction. Default: 10; 0 turns retries off.
    pub fn retries(mut self, retries: usize) -> Self {
        self.retries = retries;
        self
    }
}

impl Default for TransactionOptions {
    fn default() -> Self {
        Self::new()
    }
}
