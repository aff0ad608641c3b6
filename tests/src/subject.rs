//! The pools that a case can be played on: the engine's own, an engine on a `sqlx::Pool`, and sqlx's pool alone.

mod engine;
mod on_sqlx;
mod sqlx_alone;

use std::{fmt::Debug, future::Future, time::Duration};

use futures_util::stream::BoxStream;
use poolhouse::Engine;
use sqlx::Database;

pub use self::{engine::Own, on_sqlx::OnSqlx, sqlx_alone::SqlxAlone};
use crate::sql::Sql;

/// What a pool is started with. The names are those of poolhouse's settings.
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
    /// Small, and with a `close_timeout` that is worth waiting for.
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
    /// The database it is for.
    type Db: Sql;
    /// A connection out of it.
    type Checkout: AsMut<ConnectionOf<Self>> + Debug + Send + 'static;
    /// A transaction on a connection out of it.
    type Transaction: AsMut<ConnectionOf<Self>> + Send + 'static;

    /// Its name in reports.
    const NAME: &'static str;
    /// Whether it is poolhouse's own, which promises what sqlx's cannot.
    const OURS: bool;

    /// Starts it.
    fn start(options: Options) -> impl Future<Output = anyhow::Result<Self>> + Send;
    /// Closes it, and tells who was still holding a connection at the limit.
    fn close(&self) -> impl Future<Output = Vec<String>> + Send;

    /// Takes a connection.
    #[track_caller]
    fn acquire(&self) -> impl Future<Output = sqlx::Result<Self::Checkout>> + Send + 'static;
    /// Begins a transaction on a connection of its own.
    fn begin(&self) -> impl Future<Output = sqlx::Result<Self::Transaction>> + Send + 'static;
    /// Commits it.
    fn commit(
        transaction: Self::Transaction,
    ) -> impl Future<Output = sqlx::Result<()>> + Send + 'static;

    /// Runs statements on the pool itself.
    fn execute(&self, sql: &str) -> impl Future<Output = sqlx::Result<()>> + Send + 'static;
    /// Asks the pool itself for a number.
    fn number(&self, sql: &str) -> impl Future<Output = sqlx::Result<i64>> + Send + 'static;
    /// Asks the pool itself a question with more values than the protocol takes.
    fn too_many_values(&self) -> impl Future<Output = sqlx::Result<()>> + Send + 'static;
    /// Reads rows from the pool itself.
    fn rows(&self, sql: &str) -> BoxStream<'static, sqlx::Result<()>>;

    /// How many connections are open, in use or not.
    fn size(&self) -> usize;

    /// The engine; `None` where there is only a pool.
    fn engine(&self) -> Option<&Engine<Self::Db>>;
}
