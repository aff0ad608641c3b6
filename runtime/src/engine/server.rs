//! Which server an engine has found.

/// What answers on the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Server {
    /// The kind of database: `Postgres`, `CockroachDB`, `MySQL`, `SQLite`.
    pub kind: &'static str,
    /// The version, in the server's own words.
    pub version: String,
}
