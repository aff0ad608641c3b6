//! Database servers that give databases to tests: leases, templates, clones and retention, written once for all of them.
//!
//! | file | what it holds |
//! |---|---|
//! | `kind`, `adaptor` | what differs from database to database: over one connection, and over several |
//! | `session` | the connection that holds this process's locks |
//! | `template`, `templates` | a template, and those of a server, made once for each fingerprint |
//! | `leased` | a leased database |
//! | `connection` | a connection that goes with a database from test to test |
//! | `kept`, `keeping` | what a process keeps from one test to the next |
//! | `database_server`, `service` | one server, and what tests ask of it |
//! | `budget` | the server's connections, shared out among all processes |
//! | `clones` | clones: made, leased, made ahead |
//! | `lease` | the database of one test, from lease to return |
//! | `finish` | what the last test of a process does for the next run |
//! | `reaper` | databases that nobody uses any more |

mod adaptor;
mod budget;
mod clones;
mod connection;
mod database_server;
mod finish;
mod keeping;
mod kept;
mod kind;
mod lease;
mod leased;
mod reaper;
mod service;
mod session;
mod template;
mod templates;

pub(super) use self::adaptor::Adaptor;
pub(super) use self::database_server::Servers;
pub(super) use self::kind::{CloneName, DatabaseState, Found, Identity, Kind, PREFIX};
pub(super) use self::leased::Leased;
#[cfg(feature = "postgres")]
pub(super) use self::session::settings_for_leases;
pub(super) use self::session::{ServerSession, execute, open};
pub(super) use self::template::Template;
