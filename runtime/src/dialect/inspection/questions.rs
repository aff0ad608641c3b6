//! What there is to ask, as plain data.

/// What `POOLHOUSE_RUN=check` asks a server.
#[derive(Debug)]
pub(crate) struct Inspection {
    /// A query for the room that is there for sessions, as [`Room::read`](super::room::Room::read) reads it; `None` where nothing limits them.
    pub(crate) room: Option<&'static str>,
    /// After which time the server ends a session that does nothing.
    pub(crate) timeouts: &'static [ServerTimeout],
    /// Whether this user may run migrations.
    pub(crate) rights: Rights,
    /// Whether an error says that a table does not exist.
    pub(crate) is_no_table: fn(code: Option<&str>, message: &str) -> bool,
}

/// A time after which the server ends a session.
#[derive(Debug)]
pub(crate) struct ServerTimeout {
    /// The server's name of it.
    pub(crate) name: &'static str,
    /// A query for its milliseconds; 0 when it is off.
    pub(crate) query: &'static str,
    /// In which state it ends a session.
    pub(crate) of: Idle,
}

/// What an idle session is in.
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
    /// How missing ones are found out.
    pub(crate) how: How,
    /// What to do when some are, as a sentence without a full stop.
    pub(crate) cure: &'static str,
}

/// How missing rights are found out.
#[derive(Debug)]
pub(crate) enum How {
    /// A query for what is missing, as text; empty when nothing is.
    Asked(&'static str),
    /// Statements that fail when something is, and change nothing.
    Tried(&'static str),
}
