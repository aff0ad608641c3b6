//! The test support of poolhouse: servers, their evidence, faults, and programs to run.
//!
//! | module | content |
//! |---|---|
//! | [`servers`] | the servers that `tests/run` started, or that the environment names |
//! | [`private_server`] | a test's own server, which it may stop, crash and restart |
//! | [`database`] | a test's own database and user, on either |
//! | [`evidence`] | the server's evidence about that user's sessions |
//! | [`log`] | a server's log |
//! | [`proxy`] | a network that delays, holds back, discards, refuses or resets |
//! | [`transaction_ender`] | a stand-in for a cluster that ends transactions without notice to the client |
//! | [`galera`] | a Galera cluster of MariaDB servers |
//! | [`cockroach`] | a stand-in for CockroachDB |
//! | [`pgbouncer`] | a pooler between a program and Postgres |
//! | [`program`] | a program as a child process: lines, signals, exit status |
//! | [`eventually`](mod@eventually) | waiting for a state instead of sleeping |
//! | [`sql`], [`subject`] | the databases and the pools under test as types, for cases that are written once |
//! | [`heard`] | the log output of the code under test |
//! | [`case_database`], [`steps`] | the database of a case, and dropping a future at each of its await points |
//! | [`faults`] | the cases, for the tests that assert them and the report that compares |
//!
//! A test first asks for its server, and returns if it does not run under `tests/run`:
//!
//! ```no_run
//! use poolhouse_tests::{Kind, servers};
//!
//! async fn a_returning_body_leaves_nothing_behind() -> anyhow::Result<()> {
//!     let Some(server) = servers::require(Kind::Postgres) else { return Ok(()) };
//!     let database = server.database("returns").await?;
//!     // … a program uses `database.url()` …
//!     database.no_session_left().await?;
//!     assert_eq!(database.ended_uncleanly().await?, 0);
//!     Ok(())
//! }
//! ```

/// Compiles the programs of the page, with the frameworks that are dependencies of the tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/web.md")]
mod web_page {}

mod account;
mod binaries;
pub mod case_database;
mod children;
mod cluster;
pub mod cockroach;
pub mod database;
pub mod eventually;
pub mod evidence;
pub mod faults;
pub mod galera;
pub mod heard;
pub mod kind;
pub mod log;
pub mod pgbouncer;
pub mod private_server;
pub mod program;
pub mod proxy;
mod question;
pub mod rewriting;
pub mod servers;
pub mod sql;
pub mod steps;
pub mod subject;
pub mod transaction_ender;

pub use self::{
    case_database::CaseDatabase,
    cockroach::Cockroach,
    database::TestDatabase,
    eventually::eventually,
    evidence::Session,
    galera::Galera,
    heard::Heard,
    kind::Kind,
    log::Log,
    pgbouncer::PgBouncer,
    private_server::{PrivateServer, Stop},
    program::Program,
    proxy::Proxy,
    rewriting::Rewriting,
    servers::Server,
    sql::Sql,
    subject::{Options, Subject},
    transaction_ender::TransactionEnder,
};
