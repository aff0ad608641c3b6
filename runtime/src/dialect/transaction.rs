//! Transaction options: isolation level, read-only, deferrable.

use std::fmt;

/// The characteristics of a transaction, as in SQL: <https://www.postgresql.org/docs/current/sql-set-transaction.html>.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Characteristics {
    pub(crate) isolation: Option<IsolationLevel>,
    pub(crate) read_only: bool,
    pub(crate) deferrable: bool,
}

/// How far a transaction is isolated from concurrent ones.
///
/// The databases define the levels differently: [Postgres](https://www.postgresql.org/docs/current/transaction-iso.html),
/// [MariaDB](https://mariadb.com/kb/en/set-transaction/#isolation-levels). SQLite has only
/// [serializable](https://www.sqlite.org/isolation.html) transactions, which satisfy every level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IsolationLevel {
    /// Sees uncommitted changes of others. Postgres treats it as `ReadCommitted`.
    ReadUncommitted,
    /// Each statement sees what was committed before it.
    ReadCommitted,
    /// All statements see what was committed before the first.
    RepeatableRead,
    /// As if there were no other transaction. Conflicts are errors, which are retried.
    Serializable,
}

impl fmt::Display for IsolationLevel {
    /// The level's name in SQL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadUncommitted => "READ UNCOMMITTED",
            Self::ReadCommitted => "READ COMMITTED",
            Self::RepeatableRead => "REPEATABLE READ",
            Self::Serializable => "SERIALIZABLE",
        })
    }
}
