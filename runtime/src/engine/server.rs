//! The server that an engine is connected to.

/// The kind and version of an engine's server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Server {
    /// The kind of database: `Postgres`, `CockroachDB`, `MySQL`, `SQLite`.
    pub kind: &'static str,
    /// The version, as the server reports it.
    pub version: String,
}
