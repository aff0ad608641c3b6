//! The queries of an inspection, as plain data.

/// The queries of `POOLHOUSE_RUN=check`.
#[derive(Debug)]
pub(crate) struct Inspection {
    /// A query for the session limits and counts that [`Room::read`](super::room::Room::read) reads; `None` where nothing
    /// limits them.
    pub(crate) room: Option<&'static str>,
    /// The timeouts after which the server ends an idle session.
    pub(crate) timeouts: &'static [ServerTimeout],
    /// The rights that this user needs to run migrations.
    pub(crate) rights: Rights,
    /// Whether an error says that a table does not exist.
    pub(crate) is_no_table: fn(code: Option<&str>, message: &str) -> bool,
}

/// A timeout after which the server ends an idle session.
#[derive(Debug)]
pub(crate) struct ServerTimeout {
    /// The name of the server's setting.
    pub(crate) name: &'static str,
    /// A query for the timeout in milliseconds; 0 when it is off.
    pub(crate) query: &'static str,
    /// The state of the sessions that it ends.
    pub(crate) of: Idle,
}

/// Whether an idle session is in a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    /// In no transaction.
    Outside,
    /// In a transaction.
    InTransaction,
}

/// The rights that migrations need.
#[derive(Debug)]
pub(crate) struct Rights {
    /// How missing rights are found.
    pub(crate) how: How,
    /// What to do when rights are missing, as a sentence without a full stop.
    pub(crate) cure: &'static str,
}

/// How missing rights are found.
#[derive(Debug)]
pub(crate) enum How {
    /// A query for the missing right, as text; empty when none is missing. From the name of the table in which migrations
    /// are recorded, and whether they create schemas.
    Asked(fn(table: &str, creates_schemas: bool) -> String),
    /// Statements that fail when a right is missing, and change nothing.
    Tried(&'static str),
}
