//! A pgbouncer in transaction mode between the pool and Postgres: every statement may use another session.

use std::num::NonZeroU32;

use anyhow::{Context, ensure};
use futures_util::TryStreamExt;
use sqlx::{Executor, Pool, Postgres, Row, postgres::PgPoolOptions};
use tokio::task::JoinSet;

use crate::{Kind, Options, PgBouncer, Subject, pgbouncer::Mode, servers, subject::Own};

/// The number of sessions that pgbouncer has for all clients.
const SESSIONS: u32 = 5;

/// The number of tasks that query at the same time.
const TASKS: u32 = 100;

/// A hundred tasks use five sessions, each query with parameters, some as streams: no error, and no wrong answer.
pub async fn many_queries_on_the_engine(queries: NonZeroU32) -> anyhow::Result<()> {
    let Some(server) = servers::require(Kind::Postgres) else {
        return Ok(());
    };
    let database = server.database("pooled").await?;
    let pooler = before(&database).await?;
    let engine = Own::<Postgres>::start_pooled(Options {
        max_size: 20,
        ..Options::new(pooler.url())
    })
    .await?;
    many_queries(engine.0.clone(), queries).await?;
    ensure!(database.sessions().await?.len() <= SESSIONS as usize);
    engine.close().await;
    Ok(())
}

/// The same program on a `sqlx::Pool`, which has no setting for the pooler.
pub async fn many_queries_on_sqlx(queries: NonZeroU32) -> anyhow::Result<()> {
    let Some(server) = servers::require(Kind::Postgres) else {
        return Ok(());
    };
    let database = server.database("pooled").await?;
    let pooler = before(&database).await?;
    let pool: Pool<Postgres> = PgPoolOptions::new()
        .max_connections(20)
        .connect(pooler.url())
        .await?;
    let outcome = many_queries(pool.clone(), queries).await;
    pool.close().await;
    outcome
}

async fn before(database: &crate::TestDatabase) -> anyhow::Result<PgBouncer> {
    let sessions = SESSIONS.to_string();
    let settings = [("default_pool_size", sessions.as_str())];
    PgBouncer::start(database, Mode::Transaction, &settings).await
}

async fn many_queries<P>(pool: P, queries: NonZeroU32) -> anyhow::Result<()>
where
    P: Clone + Send + Sync + 'static,
    for<'c> &'c P: Executor<'c, Database = Postgres>,
{
    sqlx::raw_sql("CREATE TABLE told (n bigint PRIMARY KEY)")
        .execute(&pool)
        .await?;
    let each = queries.get() / TASKS;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let pool = pool.clone();
        tasks.spawn(async move {
            for query in 0..each {
                ask(&pool, task * each + query)
                    .await
                    .with_context(|| format!("query {query} of task {task}"))?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let found: i64 = sqlx::query_scalar("SELECT count(*) FROM told")
        .fetch_one(&pool)
        .await?;
    let inserts = (0..each * TASKS).filter(|n| n % 6 == 4).count();
    ensure!(
        found == i64::try_from(inserts)?,
        "{found} rows of {inserts}"
    );
    Ok(())
}

/// Runs one query whose answer depends on its own text and parameters.
async fn ask<P>(pool: &P, n: u32) -> anyhow::Result<()>
where
    P: Send + Sync,
    for<'c> &'c P: Executor<'c, Database = Postgres>,
{
    let number = i64::from(n);
    match n % 6 {
        0 => {
            let twice: i64 = sqlx::query_scalar("SELECT $1 * 2")
                .bind(number)
                .fetch_one(pool)
                .await?;
            ensure!(twice == number * 2, "{twice} is twice {number}");
        }
        1 => {
            let answer: String = sqlx::query_scalar("SELECT $1 || ' and ' || $2")
                .bind(number.to_string())
                .bind("more")
                .fetch_one(pool)
                .await?;
            ensure!(answer == format!("{number} and more"), "{answer}");
        }
        2 => {
            let mut rows = sqlx::query("SELECT n FROM generate_series($1, $1 + 9) n")
                .bind(number)
                .fetch(pool);
            let mut sum = 0;
            while let Some(row) = rows.try_next().await? {
                sum += row.try_get::<i64, _>(0)?;
            }
            ensure!(sum == number * 10 + 45, "{sum} from {number} on");
        }
        3 => {
            // A stream that is dropped half-way.
            let mut rows = sqlx::query("SELECT n FROM generate_series($1, $1 + 99) n")
                .bind(number)
                .fetch(pool);
            let first: i64 = rows.try_next().await?.context("a row")?.try_get(0)?;
            ensure!(first == number, "{first} comes before {number}");
        }
        4 => {
            let done = sqlx::query("INSERT INTO told VALUES ($1)")
                .bind(number)
                .execute(pool)
                .await?;
            ensure!(done.rows_affected() == 1, "{done:?}");
        }
        _ => {
            let none = sqlx::query("SELECT n FROM told WHERE n = -$1 - 1")
                .bind(number)
                .fetch_optional(pool)
                .await?;
            ensure!(none.is_none(), "a row for {number}");
        }
    }
    Ok(())
}
