#![cfg_attr(not(doctest), doc = include_str!("guide/links.md"))]
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(any(feature = "postgres", feature = "mysql", feature = "sqlite")))]
compile_error!(
    "poolhouse needs a database: enable one or more of its features `postgres`, `mysql` and `sqlite` in Cargo.toml"
);

#[cfg(all(feature = "ephemeral", not(unix)))]
compile_error!(
    "poolhouse's feature `ephemeral` starts database servers on Unix only: enable it under \
     [target.'cfg(unix)'.dev-dependencies] in Cargo.toml"
);

// The folders, from the top. Each uses only those below it, which `tests/structure` checks.
//
// guide       the pages of `docs`, for docs.rs
// web         axum, actix-web, Rocket: extractors and request transactions
// lifecycle   the attribute's promise, kept in `run.rs`: look up, start, run, close, return or re-raise
// testing     a database for each test; its rules are in `mod.rs`
// finder      from a name to an engine; one engine per name and scope
// engine      an engine's phases, statements, transactions, nodes
// pool        slots, with their promises in `slots.rs`; checkouts, recovery, close, with their rules in `mod.rs`
// backend     the driver's calls, for each database
// error       the errors of each phase
// dialect     the pool's own SQL and what a database's errors mean
// settings    names, sources, layers, values; the order of the sources is in `mod.rs`
// background  tasks that outlive their caller
// logging     log lines, buffered until the program listens
// lock        locking without poison
mod backend;
mod background;
mod dialect;
mod engine;
mod error;
mod finder;
#[cfg(any(doc, doctest))]
pub mod guide;
mod lifecycle;
mod lock;
mod logging;
mod pool;
mod settings;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(not(feature = "testing"))]
#[path = "testing/off.rs"]
mod testing;
#[cfg(feature = "web")]
pub mod web;

pub use poolhouse_macros::{transactional, with_pool};
pub use sqlx;

pub use self::backend::Backend;
pub use self::background::wait_closed;
pub use self::dialect::IsolationLevel;
#[cfg(feature = "web")]
pub use self::engine::RequestTransaction;
pub use self::engine::{
    Acquired, Engine, Health, OnConflict, Readiness, Retry, RetryIf, Server, Transaction,
    TransactionOptions, TransactionParent, Work, WriteMark,
};
pub use self::error::{
    AcquireError, AcquireKind, Error, StartError, StartKind, TestError, TestKind, TransactionError,
    UsageError,
};
pub use self::finder::{engine_finder, engine_finder_with, readiness};
pub use self::lifecycle::{Outcome, Parameter, Shutdown};
pub use self::pool::{Checkout, CloseReport, EndedHolder, Left, Session, Status};
pub use self::settings::{
    DatabaseUrl, IntoDuration, IntoWord, LogLevel, ParseError, Pooler, QuerySpans, RuntimeFlavor,
    Settings, SettingsError, TestIsolation,
};
#[cfg(feature = "actix-web")]
#[doc(inline)]
pub use self::web::actix_web;
#[cfg(feature = "axum")]
#[doc(inline)]
pub use self::web::axum;
#[cfg(feature = "rocket")]
#[doc(inline)]
pub use self::web::rocket;
#[cfg(any(feature = "axum", feature = "actix-web", feature = "rocket"))]
#[doc(inline)]
pub use self::web::{EngineName, Named};

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

/// The expansion of `#[with_pool]` on a test function: an error if the feature `testing` is off.
#[cfg(feature = "testing")]
#[doc(hidden)]
#[macro_export]
macro_rules! __test_function {
    ($($described:tt)*) => { $($described)* };
}

/// The expansion of `#[with_pool]` on a test function: an error if the feature `testing` is off.
#[cfg(not(feature = "testing"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __test_function {
    ($($described:tt)*) => {
        ::core::compile_error!(
            "`#[with_pool]` on a test needs poolhouse's feature `testing`: write `poolhouse = { version = \"0.1\", features = [\"testing\"] }` below `[dev-dependencies]` in Cargo.toml"
        )
    };
}

/// What `#[with_pool]` expands to. Not for other use: it changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use crate::engine::{
        Argument, Conflicts, IsTransaction, assert_argument, transactional, transactional_once,
    };
    pub use crate::lifecycle::{
        Attribute, Parameters, Plan, Request, RunningEngines, parameter, parameter_with,
    };
    pub use crate::testing::Test;
}
