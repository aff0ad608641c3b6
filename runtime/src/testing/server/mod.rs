//! Database servers as test servers: leases, templates, clones and retention, shared by all kinds of server.
//!
//! | file | what it holds |
//! |---|---|
//! | `kind`, `adaptor` | the operations that differ between databases: over one connection, and over several |
//! | `session` | the connection that holds this process's locks |
//! | `template`, `templates` | a template, and those of a server, made once for each fingerprint |
//! | `leased` | a leased database |
//! | `connection` | a connection that is reused with its database from test to test |
//! | `kept`, `keeping` | the slots and databases that a process keeps from test to test |
//! | `database_server`, `service` | one server, and its operations for tests |
//! | `budget` | the server's connections, shared among all processes |
//! | `clones` | clones: made, leased, made ahead |
//! | `lease` | the database of one test, from lease to return |
//! | `finish` | the last test of a process prepares the next run |
//! | `reaper` | listing and removing unused databases |

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
pub(super) use self::kind::{
    CloneName, DatabaseState, Found, Identity, Kind, OF_FINGERPRINT, OF_NUMBER, PREFIX, is_hex,
};
pub(super) use self::leased::Leased;
pub(super) use self::session::{ServerSession, execute, open};
#[cfg(feature = "postgres")]
pub(super) use self::session::{check_session, settings_for_leases};
pub(super) use self::template::Template;
