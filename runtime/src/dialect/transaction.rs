//! What a database is asked for at the begin of a transaction.

use std::fmt;

/// How a transaction reads and writes, in the words of SQL: <https://www.postgresql.org/docs/current/sql-set-transaction.html>.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Characteristics {
    pub(crate) isolation: Option<IsolationLevel>,
    pub(crate) read_only: bool,
    pub(crate) deferrable: bool,
}

/// How far a transaction is kept apart from those beside it.
///
/// Each database has its own idea of them: [Postgres](https://www.postgresql.org/docs/current/transaction-iso.html),
/// [MariaDB](https://mariadb.com/kb/en/set-transaction/#isolation-levels). SQLite knows only
/// [serializable](https://www.sqlite.org/isolation.html) transactions, which are as good as any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
