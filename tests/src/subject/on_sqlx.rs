//! An engine that runs on a `sqlx::Pool`, because a parameter has that type.

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context;
use futures_util::stream::BoxStream;
use poolhouse::{Engine, engine_finder_with, with_pool};
use sqlx::{Pool, Transaction, pool::PoolConnection};
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};

use super::{Options, SqlxAlone, Subject, engine};
use crate::sql::Sql;

/// The `sqlx::Pool` of an attributed function, and the engine that owns it.
#[derive(Debug)]
pub struct OnSqlx<DB: Sql> {
    engine: Engine<DB>,
    pool: SqlxAlone<DB>,
    lender: Arc<Mutex<Option<Lender>>>,
}

/// The task of the attributed function.
type Lender = JoinHandle<Result<(), poolhouse::Error>>;

impl<DB: Sql> Clone for OnSqlx<DB> {
    fn clone(&self) -> Self {
        Self {
            engine: self.engine.clone(),
            pool: self.pool.clone(),
            lender: Arc::clone(&self.lender),
        }
    }
}

impl<DB: Sql> OnSqlx<DB> {
    /// The engine that runs on the pool.
    pub fn engine(&self) -> &Engine<DB> {
        &self.engine
    }
}

/// Sends its pool to the caller, and runs until the engine is closed from outside.
#[with_pool(
    engine = engine::NAME,
    url = &options.url,
    max_size = options.max_size,
    min_size = options.min_size,
    acquire_timeout = options.acquire_timeout,
    connect_timeout = options.connect_timeout,
    start_timeout = options.start_timeout,
    close_timeout = options.close_timeout,
    validate_after = options.validate_after,
    lazy = options.lazy
)]
async fn lend<DB: Sql>(
    options: Options,
    sender: oneshot::Sender<Pool<DB>>,
    #[pool] pool: Pool<DB>,
) -> Result<(), poolhouse::Error> {
    // Only the attribute uses the options.
    drop(options);
    let closing = pool.close_event();
    // If the receiver is gone, the function ends with the test's runtime.
    let _ = sender.send(pool);
    closing.await;
    Ok(())
}

impl<DB: Sql> Subject for OnSqlx<DB> {
    type Db = DB;
    type Checkout = PoolConnection<DB>;
    type Transaction = Transaction<'static, DB>;

    const NAME: &'static str = "a sqlx::Pool parameter";
    const OURS: bool = false;

    async fn start(options: Options) -> anyhow::Result<Self> {
        let (sender, pool) = oneshot::channel();
        let lender: Lender = tokio::spawn(lend(options.clone(), sender));
        let Ok(pool) = pool.await else {
            lender.await??;
            anyhow::bail!("the function has returned without lending its pool");
        };
        let engine = engine_finder_with(&options.settings()).context("the engine is started")?;
        Ok(Self {
            engine,
            pool: SqlxAlone(pool),
            lender: Arc::new(Mutex::new(Some(lender))),
        })
    }

    async fn close(&self) -> Vec<String> {
        let ended = engine::ended(self.engine.close_connection_pool().await);
        // The function's own close joins this one. A later one would cancel the next start of an engine of this name.
        let lender = self.lender.lock().ok().and_then(|mut lender| lender.take());
        if let Some(lender) = lender {
            let _ = timeout(Duration::from_secs(10), lender).await;
        }
        ended
    }

    fn acquire(&self) -> impl Future<Output = sqlx::Result<PoolConnection<DB>>> + Send + 'static {
        self.pool.acquire()
    }

    fn begin(
        &self,
    ) -> impl Future<Output = sqlx::Result<Transaction<'static, DB>>> + Send + 'static {
        self.pool.begin()
    }

    async fn commit(transaction: Transaction<'static, DB>) -> sqlx::Result<()> {
        transaction.commit().await
    }

    fn execute(&self, sql: &str) -> impl Future<Output = sqlx::Result<()>> + Send + 'static {
        self.pool.execute(sql)
    }

    fn number(&self, sql: &str) -> impl Future<Output = sqlx::Result<i64>> + Send + 'static {
        self.pool.number(sql)
    }

    fn too_many_values(&self) -> impl Future<Output = sqlx::Result<()>> + Send + 'static {
        self.pool.too_many_values()
    }

    fn rows(&self, sql: &str) -> BoxStream<'static, sqlx::Result<()>> {
        self.pool.rows(sql)
    }

    fn size(&self) -> usize {
        self.pool.size()
    }

    fn engine(&self) -> Option<&Engine<DB>> {
        Some(&self.engine)
    }
}
