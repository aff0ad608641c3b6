//! The interface of an engine that runs on a `sqlx::Pool`.

use std::future::Future;

use futures_util::stream::BoxStream;
use poolhouse::{Checkout, Engine, Transaction};

use super::{OnSqlx, Options, Own, Subject};
use crate::sql::Sql;

/// An engine on a `sqlx::Pool`, used as an engine.
#[derive(Debug)]
pub struct EngineOnSqlx<DB: Sql> {
    /// Keeps the function with the pool alive.
    pool: OnSqlx<DB>,
    engine: Own<DB>,
}

impl<DB: Sql> Clone for EngineOnSqlx<DB> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            engine: self.engine.clone(),
        }
    }
}

impl<DB: Sql> Subject for EngineOnSqlx<DB> {
    type Db = DB;
    type Checkout = Checkout<DB>;
    type Transaction = Transaction<DB>;

    const NAME: &'static str = "poolhouse on a sqlx::Pool";
    const OURS: bool = false;

    async fn start(options: Options) -> anyhow::Result<Self> {
        let pool = OnSqlx::start(options).await?;
        let engine = Own(pool.engine().clone());
        Ok(Self { pool, engine })
    }

    async fn close(&self) -> Vec<String> {
        self.pool.close().await
    }

    #[track_caller]
    fn acquire(&self) -> impl Future<Output = sqlx::Result<Checkout<DB>>> + Send + 'static {
        Subject::acquire(&self.engine)
    }

    fn begin(&self) -> impl Future<Output = sqlx::Result<Transaction<DB>>> + Send + 'static {
        Subject::begin(&self.engine)
    }

    async fn commit(transaction: Transaction<DB>) -> sqlx::Result<()> {
        transaction.commit().await
    }

    fn execute(&self, sql: &str) -> impl Future<Output = sqlx::Result<()>> + Send + 'static {
        self.engine.execute(sql)
    }

    fn number(&self, sql: &str) -> impl Future<Output = sqlx::Result<i64>> + Send + 'static {
        self.engine.number(sql)
    }

    fn too_many_values(&self) -> impl Future<Output = sqlx::Result<()>> + Send + 'static {
        self.engine.too_many_values()
    }

    fn rows(&self, sql: &str) -> BoxStream<'static, sqlx::Result<()>> {
        self.engine.rows(sql)
    }

    fn size(&self) -> usize {
        Subject::size(&self.pool)
    }

    fn engine(&self) -> Option<&Engine<DB>> {
        Some(&self.engine)
    }
}
