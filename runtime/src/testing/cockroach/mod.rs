//! CockroachDB: a new database for each test, whose name says which session it belongs to.
//!
//! There are no advisory locks and no templates here, so that the adaptor for [`server`](super::server)s does not fit. What
//! tells a database in use from one that an ended process has left is the session that each process keeps: a database belongs
//! to the session in its name, and is unused when the cluster does not know that session any more.
//!
//! `poolhouse_<session>_<n>` is a test's, or that of the tests of one process that roll back, as long as the session is there;
//! it is kept for a person when its comment says so. No database goes on to another test.
//!
//! (A process that loses its session while tests run loses its databases to the next process that begins.)

mod cluster;
mod database;
mod lease;
mod reaper;
mod service;
mod session;

pub(super) use self::service::test_server;
