//! The engine on its own pool.

use std::{future::Future, ops::Deref};

use futures_util::stream::BoxStream;
use poolhouse::{Checkout, CloseReport, Engine, Settings, Transaction, engine_finder_with};
use sqlx::AssertSqlSafe;

use super::{Options, Subject};
use crate::sql::Sql;

/// An engine on its own pool.
#[derive(Debug)]
pub struct Own<DB: Sql>(pub Engine<DB>);

impl<DB: Sql> Clone for Own<DB> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<DB: Sql> Deref for Own<DB> {
    type Target = Engine<DB>;

    fn deref(&self) -> &Engine<DB> {
        &self.0
    }
}

/// The engine's name. No environment variable of the machine refers to it.
pub(super) const NAME: &str = "under_test";

impl Options {
    /// The same options as poolhouse's settings.
    pub fn settings(&self) -> Settings {
        Settings::new()
            .engine(NAME)
            .url(&self.url)
            .max_size(self.max_size)
            .min_size(self.min_size)
            .acquire_timeout(self.acquire_timeout)
            .connect_timeout(self.connect_timeout)
            .start_timeout(self.start_timeout)
            .close_timeout(self.close_timeout)
            .validate_after(self.validate_after)
            .lazy(self.lazy)
    }
}

impl Own<sqlx::Postgres> {
    /// Starts the engine behind a pgbouncer.
    ///
    /// # Errors
    /// As [`Subject::start`].
    pub async fn start_pooled(options: Options) -> anyhow::Result<Self> {
        let engine = engine_finder_with(&options.settings().pooler("pgbouncer"))?;
        engine.start_connection_pool().await?;
        Ok(Self(engine))
    }
}

/// The holders whose sessions the close terminated, in the report's own words.
pub(super) fn ended(report: CloseReport) -> Vec<String> {
    report.ended.into_iter().map(|ended| ended.holder).collect()
}

impl<DB: Sql> Subject for Own<DB> {
    type Db = DB;
    type Checkout = Checkout<DB>;
    type Transaction = Transaction<DB>;

    const NAME: &'static str = "poolhouse";
    const OURS: bool = true;

    async fn start(options: Options) -> anyhow::Result<Self> {
        let engine = engine_finder_with(&options.settings())?;
        engine.start_connection_pool().await?;
        Ok(Self(engine))
    }

    async fn close(&self) -> Vec<String> {
        ended(self.0.close_connection_pool().await)
    }

    #[track_caller]
    fn acquire(&self) -> impl Future<Output = sqlx::Result<Checkout<DB>>> + Send + 'static {
        self.0.acquire()
    }

    fn begin(&self) -> impl Future<Output = sqlx::Result<Transaction<DB>>> + Send + 'static {
        self.0.begin()
    }

    async fn commit(transaction: Transaction<DB>) -> sqlx::Result<()> {
        transaction.commit().await
    }

    fn execute(&self, sql: &str) -> impl Future<Output = sqlx::Result<()>> + Send + 'static {
        let (engine, sql) = (self.0.clone(), AssertSqlSafe(sql.to_owned()));
        async move { sqlx::raw_sql(sql).execute(&engine).await.map(drop) }
    }

    fn number(&self, sql: &str) -> impl Future<Output = sqlx::Result<i64>> + Send + 'static {
        DB::answer_on(self.0.clone(), sql)
    }

    fn too_many_values(&self) -> impl Future<Output = sqlx::Result<()>> + Send + 'static {
        DB::too_many_values_on(self.0.clone())
    }

    fn rows(&self, sql: &str) -> BoxStream<'static, sqlx::Result<()>> {
        DB::read_on(&self.0, sql)
    }

    fn size(&self) -> usize {
        self.0.status().size
    }

    fn engine(&self) -> Option<&Engine<DB>> {
        Some(&self.0)
    }
}
