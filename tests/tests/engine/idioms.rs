//! Idioms of a `sqlx::Pool` on an engine: all those of the guide's page "Coming from `sqlx::Pool`".

use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::TryStreamExt;
use poolhouse::{AcquireError, AcquireKind, Checkout, Engine, PgEngine, UsageError};
use poolhouse_tests::CaseDatabase;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{
    Acquire, AssertSqlSafe, Connection, Database, MySql, PgConnection, Postgres, SqlSafeStr, Sqlite,
};

use super::{settings, started};

macro_rules! on {
    ($module:ident, $database:ty) => {
        mod $module {
            use super::*;

            async fn begin() -> anyhow::Result<Option<(CaseDatabase, Engine<$database>)>> {
                let Some(case_database) = CaseDatabase::of::<$database>("idioms").await? else {
                    return Ok(None);
                };
                let engine = started::<$database>(&settings(&case_database).max_size(2)).await?;
                sqlx::raw_sql("CREATE TABLE entry (id INTEGER PRIMARY KEY)")
                    .execute(&engine)
                    .await?;
                Ok(Some((case_database, engine)))
            }

            /// Generic code, as sqlx's documentation suggests.
            async fn insert<'a>(
                to: impl Acquire<'a, Database = $database> + Send,
            ) -> sqlx::Result<()> {
                let mut connection = to.acquire().await?;
                sqlx::query("INSERT INTO entry VALUES (1)")
                    .execute(&mut *connection)
                    .await?;
                Ok(())
            }

            /// The same with a transaction.
            async fn insert_and<'a>(
                to: impl Acquire<'a, Database = $database> + Send,
                commit: bool,
            ) -> sqlx::Result<()> {
                let mut transaction = to.begin().await?;
                sqlx::query("INSERT INTO entry VALUES (2)")
                    .execute(&mut *transaction)
                    .await?;
                if commit {
                    transaction.commit().await
                } else {
                    transaction.rollback().await
                }
            }

            async fn count(engine: &Engine<$database>) -> sqlx::Result<i64> {
                sqlx::query_scalar("SELECT count(*) FROM entry")
                    .fetch_one(engine)
                    .await
            }

            #[tokio::test]
            async fn acquire_is_generic() -> anyhow::Result<()> {
                let Some((_case_database, engine)) = begin().await? else {
                    return Ok(());
                };
                insert(&engine).await?;
                let mut checkout = engine.acquire().await?;
                insert_and(&mut checkout, false).await?;
                insert_and(&mut *checkout, true).await?;
                ensure!(insert(&mut checkout).await.is_err(), "twice the same");
                drop(checkout);
                ensure!(count(&engine).await? == 2);
                let mut transaction = engine.begin().await?;
                sqlx::query("DELETE FROM entry")
                    .execute(&mut *transaction)
                    .await?;
                insert_and(&mut transaction, false).await?;
                insert_and(&mut transaction, true).await?;
                insert(&mut transaction).await?;
                transaction.rollback().await?;
                ensure!(count(&engine).await? == 2);
                // An engine cannot begin sqlx's transaction, which owns a connection of a `sqlx::Pool`.
                let refused = insert_and(&engine, true).await.err().context("it began")?;
                let sqlx::Error::Configuration(cause) = &refused else {
                    anyhow::bail!("{refused}");
                };
                let cause = cause.downcast_ref();
                ensure!(
                    matches!(cause, Some(UsageError::GenericBegin { .. })),
                    "{refused}"
                );
                engine.close_connection_pool().await;
                Ok(())
            }

            #[tokio::test]
            async fn a_checkout_is_closed_or_detached() -> anyhow::Result<()> {
                let Some((case_database, engine)) = begin().await? else {
                    return Ok(());
                };
                let checkout = engine.acquire().await?;
                checkout.close().await?;
                ensure!(
                    engine.size() == 0 && engine.num_idle() == 0,
                    "{}",
                    engine.status()
                );
                let mut checkout = engine.acquire().await?;
                let connection: &mut <$database as sqlx::Database>::Connection = checkout.as_mut();
                connection.ping().await?;
                let mut detached = checkout.detach();
                ensure!(engine.size() == 0, "{}", engine.status());
                // No slot is lost.
                let two: (Checkout<_>, Checkout<_>) =
                    (engine.acquire().await?, engine.acquire().await?);
                ensure!(
                    engine.size() == 2 && engine.num_idle() == 0,
                    "{}",
                    engine.status()
                );
                drop(two);
                engine.close_connection_pool().await;
                detached.ping().await?;
                detached.close().await?;
                case_database.no_session_left().await
            }

            #[tokio::test]
            async fn try_acquire_never_waits() -> anyhow::Result<()> {
                let Some((_case_database, engine)) = begin().await? else {
                    return Ok(());
                };
                let transaction = engine.transaction(async |tx| {
                    sqlx::query("INSERT INTO entry VALUES (7)")
                        .execute(&mut *tx)
                        .await
                        .map(drop)
                });
                transaction.await?;
                let mut idle = engine.try_acquire().await.context("one is idle")?;
                // The driver's count of transactions is right.
                ensure!(!idle.is_in_transaction());
                sqlx::query("INSERT INTO entry VALUES (8)")
                    .execute(&mut *idle)
                    .await?;
                ensure!(engine.try_acquire().await.is_none(), "none is idle");
                drop(idle);
                ensure!(!engine.is_closed());
                engine.close_connection_pool().await;
                ensure!(engine.is_closed() && engine.try_acquire().await.is_none());
                Ok(())
            }

            #[tokio::test]
            async fn migrations_run_when_the_program_says_so() -> anyhow::Result<()> {
                let Some((_case_database, engine)) = begin().await? else {
                    return Ok(());
                };
                let migrator = migrator("CREATE TABLE made (id INTEGER)");
                // The driver still counts a transaction that a connection has committed.
                let transaction = engine.transaction(async |tx| {
                    sqlx::query("INSERT INTO entry VALUES (7)")
                        .execute(&mut *tx)
                        .await
                        .map(drop)
                });
                transaction.await?;
                engine.migrate(&migrator).await?;
                engine.migrate(&migrator).await?;
                sqlx::query("SELECT id FROM made").execute(&engine).await?;
                // The method of sqlx works too.
                migrator.run(&engine).await?;
                let wrong = engine.migrate(&self::migrator("CREATE nothing")).await;
                ensure!(wrong.is_err());
                ensure!(engine.health().await.is_ok());
                engine.close_connection_pool().await;
                Ok(())
            }

            #[tokio::test]
            async fn a_transaction_begins_with_a_statement_of_its_own() -> anyhow::Result<()> {
                let Some((_case_database, engine)) = begin().await? else {
                    return Ok(());
                };
                let begin = match <$database as Database>::NAME {
                    "PostgreSQL" => "BEGIN ISOLATION LEVEL SERIALIZABLE",
                    "MySQL" => "START TRANSACTION WITH CONSISTENT SNAPSHOT",
                    _ => "BEGIN IMMEDIATE",
                };
                // The second one is on a connection whose driver counts the first.
                for id in [7, 8] {
                    let mut tx = engine.begin_with(begin).await?;
                    let add = format!("INSERT INTO entry VALUES ({id})");
                    sqlx::query(AssertSqlSafe(add)).execute(&mut tx).await?;
                    tx.commit().await?;
                }
                let mut tx = engine.begin_with(begin).await?;
                sqlx::query("DELETE FROM entry").execute(&mut tx).await?;
                tx.rollback().await?;
                let count: i64 = sqlx::query_scalar("SELECT count(*) FROM entry")
                    .fetch_one(&engine)
                    .await?;
                ensure!(count == 2, "{count}");
                let none = engine.begin_with("SELECT 1").await;
                ensure!(matches!(none, Err(sqlx::Error::BeginFailed)), "{none:?}");
                engine.close_connection_pool().await;
                Ok(())
            }

            /// Checks the guide's statement on both kinds of pools.
            #[tokio::test]
            async fn a_timeout_and_a_closed_pool_are_two_errors() -> anyhow::Result<()> {
                let Some(case_database) = CaseDatabase::of::<$database>("idioms").await? else {
                    return Ok(());
                };
                let short = settings(&case_database).max_size(1).acquire_timeout("50ms");
                let engine = started::<$database>(&short).await?;
                let held = engine.acquire().await?;
                ensure!(
                    what(&engine.acquire().await.err().context("there was one")?) == "timed out"
                );
                drop(held);
                engine.close_connection_pool().await;
                ensure!(what(&engine.acquire().await.err().context("there was one")?) == "closed");

                let pool = sqlx::pool::PoolOptions::<$database>::new()
                    .max_connections(1)
                    .acquire_timeout(Duration::from_secs(3))
                    .connect(&case_database.url())
                    .await?;
                let held = pool.acquire().await?;
                ensure!(what(&pool.acquire().await.err().context("there was one")?) == "timed out");
                drop(held);
                pool.close().await;
                ensure!(what(&pool.acquire().await.err().context("there was one")?) == "closed");
                Ok(())
            }
        }
    };
}

on!(postgres, Postgres);
on!(mariadb, MySql);
on!(sqlite, Sqlite);

/// The reason of a failed acquire on an engine or on a `sqlx::Pool`.
fn what(error: &sqlx::Error) -> &'static str {
    match (error, AcquireError::find(error).map(AcquireError::kind)) {
        (sqlx::Error::PoolTimedOut, _) | (_, Some(AcquireKind::TimedOut)) => "timed out",
        (sqlx::Error::PoolClosed, _) | (_, Some(AcquireKind::Closed)) => "closed",
        _ => "something else",
    }
}

fn migrator(sql: &'static str) -> Migrator {
    let migration = Migration::new(
        1,
        "one".into(),
        MigrationType::Simple,
        sql.into_sql_str(),
        false,
    );
    Migrator::with_migrations(vec![migration])
}

#[tokio::test]
async fn functions_of_the_drivers_connection_take_a_checkout_and_a_transaction()
-> anyhow::Result<()> {
    async fn one(connection: &mut PgConnection) -> sqlx::Result<i32> {
        sqlx::query_scalar("SELECT 1").fetch_one(connection).await
    }

    let Some(case_database) = CaseDatabase::of::<Postgres>("idioms").await? else {
        return Ok(());
    };
    let engine: PgEngine = started(&settings(&case_database)).await?;
    let mut checkout = engine.acquire().await?;
    let mut sum = one(&mut checkout).await? + one(checkout.as_mut()).await?;
    // The checkout has the methods of the driver's connection.
    let mut copy = checkout.copy_out_raw("COPY (SELECT 1) TO STDOUT").await?;
    ensure!(copy.try_next().await?.is_some_and(|row| &*row == b"1\n"));
    drop(copy);
    let mut transaction = engine.begin().await?;
    sum += one(&mut transaction).await?;
    transaction.commit().await?;
    sum += engine.transaction(async |tx| one(tx).await).await?;
    ensure!(sum == 4);
    drop(checkout);
    engine.close_connection_pool().await;
    case_database.no_session_left().await
}

#[tokio::test]
async fn a_listener_hears_what_the_engine_notifies() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<Postgres>("idioms").await? else {
        return Ok(());
    };
    let engine: PgEngine = started(&settings(&case_database).max_size(1)).await?;
    let mut listener = engine.listener().await?;
    listener.listen("news").await?;
    sqlx::query("SELECT pg_notify('news', 'hello')")
        .execute(&engine)
        .await?;
    ensure!(listener.recv().await?.payload() == "hello");
    engine.close_connection_pool().await;
    Ok(())
}
