#![cfg_attr(not(doctest), doc = include_str!("guide/links.md"))]
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
mod background;
mod dialect;
mod engine;
mod error;
mod finder;
#[cfg(any(doc, doctest))]
pub mod guide;
mod lifecycle;
mod pool;
mod settings;
pub mod testing;

pub use poolhouse_macros::with_pool;
pub use sqlx;

pub use self::backend::Backend;
pub use self::background::closed;
pub use self::dialect::{IsolationLevel, TransactionOptions};
pub use self::engine::{Engine, Health, Server, Transaction};
pub use self::error::{
    AcquireError, AcquireKind, Error, StartError, TestError, TransactionError, UsageError,
};
pub use self::finder::{engine_finder, engine_finder_with};
pub use self::lifecycle::{Outcome, Parameter, Shutdown};
pub use self::pool::{Checkout, CloseReport, EndedHolder, Left, Status};
pub use self::settings::{DatabaseUrl, IntoDuration, Settings, SettingsError};
pub use self::testing::{Seeded, TestDatabase, TestDatabaseState};

/// An engine on Postgres.
#[cfg(feature = "postgres")]
pub type PgEngine = Engine<sqlx::Postgres>;

/// An engine on MySQL or MariaDB.
#[cfg(feature = "mysql")]
pub type MySqlEngine = Engine<sqlx::MySql>;

/// An engine on SQLite.
#[cfg(feature = "sqlite")]
pub type SqliteEngine = Engine<sqlx::Sqlite>;

/// An engine on the database that its URL names at run time.
#[cfg(feature = "any")]
pub type AnyEngine = Engine<sqlx::Any>;

/// What `#[with_pool]` expands to. Not for other use: it changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use crate::lifecycle::{
        Attribute, House, Parameters, Plan, Request, parameter, parameter_with,
    };
    pub use crate::testing::Test;
}
