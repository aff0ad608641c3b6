//! The pools of the cases: the engine's own, an engine on a `sqlx::Pool` through either interface, and `sqlx::Pool` alone.

mod engine;
mod engine_on_sqlx;
mod on_sqlx;
mod sqlx_alone;

use std::{fmt::Debug, future::Future, time::Duration};

use futures_util::stream::BoxStream;
use poolhouse::Engine;
use sqlx::Database;

pub use self::{engine::Own, engine_on_sqlx::EngineOnSqlx, on_sqlx::OnSqlx, sqlx_alone::SqlxAlone};
use crate::sql::Sql;

/// The options of a pool's start, named as poolhouse's settings.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each is described where the setting is")]
pub struct Options {
    pub url: String,
    pub max_size: u32,
    pub min_size: u32,
    pub acquire_timeout: Duration,
    pub connect_timeout: Duration,
    pub start_timeout: Duration,
    pub close_timeout: Duration,
    pub validate_after: Duration,
    pub lazy: bool,
}

impl Options {
    /// Options of a small pool.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            max_size: 4,
            min_size: 0,
            acquire_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            start_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(10),
            validate_after: Duration::from_millis(500),
            lazy: false,
        }
    }
}

/// The driver's connection.
pub type ConnectionOf<S> = <<S as Subject>::Db as Database>::Connection;

/// A started pool under test.
pub trait Subject: Clone + Debug + Send + Sync + 'static {
    /// The database of the pool.
    type Db: Sql;
    /// A connection of the pool.
    type Checkout: AsMut<ConnectionOf<Self>> + Debug + Send + 'static;
    /// A transaction on a connection of the pool.
    type Transaction: AsMut<ConnectionOf<Self>> + Send + 'static;

    /// The pool's name in reports.
    const NAME: &'static str;
    /// Whether this is poolhouse's own pool, which promises more than sqlx's.
    const OURS: bool;

    /// Starts the pool.
    fn start(options: Options) -> impl Future<Output = anyhow::Result<Self>> + Send;
    /// Closes the pool, and returns the holders of a connection at the limit.
    fn close(&self) -> impl Future<Output = Vec<String>> + Send;

    /// Acquires a connection.
    #[track_caller]
    fn acquire(&self) -> impl Future<Output = sqlx::Result<Self::Checkout>> + Send + 'static;
    /// Begins a transaction on a connection of its own.
    fn begin(&self) -> impl Future<Output = sqlx::Result<Self::Transaction>> + Send + 'static;
    /// Commits a transaction.
    fn commit(
        transaction: Self::Transaction,
    ) -> impl Future<Output = sqlx::Result<()>> + Send + 'static;

    /// Runs statements on the pool itself.
    fn execute(&self, sql: &str) -> impl Future<Output = sqlx::Result<()>> + Send + 'static;
    /// Queries a number on the pool itself.
    fn number(&self, sql: &str) -> impl Future<Output = sqlx::Result<i64>> + Send + 'static;
    /// Runs a query with more values than the protocol allows on the pool itself.
    fn too_many_values(&self) -> impl Future<Output = sqlx::Result<()>> + Send + 'static;
    /// Reads rows from the pool itself.
    fn rows(&self, sql: &str) -> BoxStream<'static, sqlx::Result<()>>;

    /// The number of open connections, idle or in use.
    fn size(&self) -> usize;

    /// The engine; `None` for a pool without one.
    fn engine(&self) -> Option<&Engine<Self::Db>>;
}
