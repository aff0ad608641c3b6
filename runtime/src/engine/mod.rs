//! The engine: one configured database, and its pool once started.

mod close;
mod erased;
mod executor;
mod handle;
mod health;
mod idioms;
mod kinds;
#[cfg(feature = "postgres")]
mod listener;
mod mark;
mod migrate;
mod node_list;
mod nodes;
mod operate;
mod phase;
mod prepare;
mod readiness;
#[cfg(feature = "testing")]
mod recorded;
#[cfg(feature = "web")]
mod request;
mod server;
mod start;
mod statement_route;
mod transaction;

pub(crate) use self::erased::{ErasedEngine, erased};
pub use self::handle::Engine;
pub use self::health::Health;
pub use self::idioms::Acquired;
pub(crate) use self::kinds::engine_of;
pub use self::mark::WriteMark;
pub(crate) use self::operate::{
    EngineReport, Finding, MigrationReport, MigrationState, Operation, Severity,
};
pub(crate) use self::phase::{Base, Draining};
pub use self::readiness::Readiness;
#[cfg(feature = "testing")]
pub use self::recorded::Recorded;
#[cfg(feature = "rocket")]
pub(crate) use self::request::tasks;
#[cfg(feature = "web")]
pub use self::request::{
    RequestSession, RequestTransaction, RequestTransactions, TransactionGuard,
};
pub use self::server::Server;
pub use self::transaction::{
    Argument, Conflicts, IsTransaction, OnConflict, Retry, RetryIf, Transaction,
    TransactionOptions, TransactionParent, Work, assert_argument, transactional,
    transactional_once,
};
