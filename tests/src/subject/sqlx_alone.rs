//! `sqlx::Pool` alone, for the comparison.

use std::future::Future;

use async_stream::try_stream;
use futures_util::{StreamExt, stream::BoxStream};
use sqlx::{
    Pool, Transaction,
    pool::{PoolConnection, PoolOptions},
};

use super::{Options, Subject};
use crate::sql::Sql;

/// A `sqlx::Pool` without poolhouse.
#[derive(Debug)]
pub struct SqlxAlone<DB: Sql>(pub Pool<DB>);

impl<DB: Sql> Clone for SqlxAlone<DB> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<DB: Sql> Subject for SqlxAlone<DB> {
    type Db = DB;
    type Checkout = PoolConnection<DB>;
    type Transaction = Transaction<'static, DB>;

    const NAME: &'static str = "sqlx::Pool";
    const OURS: bool = false;

    async fn start(options: Options) -> anyhow::Result<Self> {
        let pool = PoolOptions::new()
            .max_connections(options.max_size)
            .min_connections(options.min_size)
            .acquire_timeout(options.acquire_timeout);
        Ok(Self(if options.lazy {
            pool.connect_lazy(&options.url)?
        } else {
            pool.connect(&options.url).await?
        }))
    }

    async fn close(&self) -> Vec<String> {
        self.0.close().await;
        Vec::new()
    }

    fn acquire(&self) -> impl Future<Output = sqlx::Result<PoolConnection<DB>>> + Send + 'static {
        self.0.acquire()
    }

    fn begin(
        &self,
    ) -> impl Future<Output = sqlx::Result<Transaction<'static, DB>>> + Send + 'static {
        let pool = self.0.clone();
        async move { pool.begin().await }
    }

    async fn commit(transaction: Transaction<'static, DB>) -> sqlx::Result<()> {
        transaction.commit().await
    }

    fn execute(&self, sql: &str) -> impl Future<Output = sqlx::Result<()>> + Send + 'static {
        let (connection, sql) = (self.0.acquire(), sql.to_owned());
        async move { DB::run(&mut *connection.await?, &sql).await }
    }

    fn number(&self, sql: &str) -> impl Future<Output = sqlx::Result<i64>> + Send + 'static {
        let (connection, sql) = (self.0.acquire(), sql.to_owned());
        async move { DB::answer(&mut *connection.await?, &sql).await }
    }

    fn too_many_values(&self) -> impl Future<Output = sqlx::Result<()>> + Send + 'static {
        let connection = self.0.acquire();
        async move { DB::too_many_values(&mut *connection.await?).await }
    }

    fn rows(&self, sql: &str) -> BoxStream<'static, sqlx::Result<()>> {
        let (connection, sql) = (self.0.acquire(), sql.to_owned());
        Box::pin(try_stream! {
            let mut connection = connection.await?;
            let mut rows = DB::read(&mut *connection, &sql);
            while let Some(row) = rows.next().await {
                row?;
                yield ();
            }
        })
    }

    fn size(&self) -> usize {
        self.0.size() as usize
    }

    fn engine(&self) -> Option<&poolhouse::Engine<DB>> {
        None
    }
}
