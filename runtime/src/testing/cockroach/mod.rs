//! CockroachDB: a new database for each test, with the owning session in its name.
//!
//! CockroachDB has no advisory locks and no templates, so that the adaptor for [`server`](super::server)s does not fit.
//! Instead, each process keeps a session. A database belongs to the session in its name, and is unused when the cluster no
//! longer has that session.
//!
//! `poolhouse_<session>_<n>` is the database of one test, or of the tests of one process that roll back. A comment marks a
//! kept database. Only tests that roll back share a database.
//!
//! A process that loses its session while tests run loses its databases to the next process that begins.

mod cluster;
mod database;
mod lease;
mod reaper;
mod service;
mod session;

pub(super) use self::service::test_server;
