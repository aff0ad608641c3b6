//! `Engine::transaction`: commits, rollbacks and retries.

mod cancelled;
mod closures;
mod conflicts;
mod lost;
mod on_commit;
mod options;
mod scoped;
mod transactional;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use anyhow::ensure;
use futures_util::FutureExt;
use poolhouse::{
    Engine, IsolationLevel, MySqlEngine, PgEngine, Settings, SqliteEngine, TransactionError,
    TransactionOptions, engine_finder_with,
};
use poolhouse_tests::CaseDatabase;
use sqlx::{MySql, Postgres, Sqlite};
use tokio::sync::Barrier;

/// The same promises on each database.
macro_rules! on {
    ($module:ident, $database:ty, $engine:ty) => {
        mod $module {
            use super::*;

            async fn begin() -> anyhow::Result<Option<(CaseDatabase, $engine)>> {
                let Some(case_database) = CaseDatabase::of::<$database>("transactions").await?
                else {
                    return Ok(None);
                };
                let settings = Settings::new()
                    .engine(concat!("transactions_", stringify!($module)))
                    .url(case_database.url());
                let engine: Engine<$database> = engine_finder_with(&settings)?;
                engine.start_connection_pool().await?;
                sqlx::raw_sql(
                    "CREATE TABLE entry (id INTEGER PRIMARY KEY, value INTEGER NOT NULL)",
                )
                .execute(&engine)
                .await?;
                Ok(Some((case_database, engine)))
            }

            async fn count(engine: &$engine) -> sqlx::Result<i64> {
                sqlx::query_scalar("SELECT count(*) FROM entry")
                    .fetch_one(engine)
                    .await
            }

            const ADD: &str = "INSERT INTO entry VALUES (1, 1)";

            #[tokio::test]
            async fn ok_commits_and_all_else_rolls_back() -> anyhow::Result<()> {
                let Some((_case_database, engine)) = begin().await? else {
                    return Ok(());
                };
                // An error of the closure.
                let failed: anyhow::Result<()> = engine
                    .transaction(async |transaction| {
                        sqlx::query(ADD).execute(transaction).await?;
                        anyhow::bail!("no")
                    })
                    .await;
                ensure!(failed.is_err() && count(&engine).await? == 0);
                // A panic.
                let panicked = AssertUnwindSafe(engine.transaction::<(), sqlx::Error, _>(
                    async |transaction| {
                        sqlx::query(ADD).execute(transaction).await?;
                        if count(&engine).await? == 0 {
                            panic!("on purpose");
                        }
                        sqlx::Result::Ok(())
                    },
                ));
                ensure!(panicked.catch_unwind().await.is_err() && count(&engine).await? == 0);
                // A cancellation after the statement.
                let (started, ran) = tokio::sync::oneshot::channel();
                let started = Mutex::new(Some(started));
                let cancelled = engine.transaction(async |transaction| {
                    sqlx::query(ADD).execute(transaction).await?;
                    let started = started.lock().unwrap().take();
                    started.map(|started| started.send(()));
                    std::future::pending::<sqlx::Result<()>>().await
                });
                tokio::select! {
                    _ = cancelled => anyhow::bail!("it ended"),
                    ran = ran => ran?,
                }
                ensure!(count(&engine).await? == 0);
                // In a spawned task, as in a handler of a web server.
                let spawned = tokio::spawn({
                    let engine = engine.clone();
                    async move {
                        engine
                            .transaction(async |transaction| {
                                sqlx::query(ADD).execute(transaction).await.map(drop)
                            })
                            .await
                    }
                });
                spawned.await??;
                ensure!(count(&engine).await? == 1);
                engine.close_connection_pool().await;
                Ok(())
            }

            #[tokio::test]
            async fn a_nested_one_rolls_back_alone() -> anyhow::Result<()> {
                let Some((_case_database, engine)) = begin().await? else {
                    return Ok(());
                };
                engine
                    .transaction(async |transaction| {
                        sqlx::query(ADD).execute(&mut *transaction).await?;
                        let nested: anyhow::Result<()> = transaction
                            .transaction(async |nested| {
                                sqlx::query("INSERT INTO entry VALUES (2, 2)")
                                    .execute(&mut *nested)
                                    .await?;
                                // A duplicate id, which fails the whole transaction on Postgres.
                                sqlx::query(ADD).execute(nested).await?;
                                Ok(())
                            })
                            .await;
                        ensure!(nested.is_err());
                        transaction
                            .transaction(async |nested| {
                                sqlx::query("INSERT INTO entry VALUES (3, 3)")
                                    .execute(nested)
                                    .await
                                    .map(drop)
                            })
                            .await?;
                        anyhow::Ok(())
                    })
                    .await?;
                let ids: Vec<i32> = sqlx::query_scalar("SELECT id FROM entry ORDER BY id")
                    .fetch_all(&engine)
                    .await?;
                ensure!(ids == [1, 3], "{ids:?}");
                engine.close_connection_pool().await;
                Ok(())
            }

            #[tokio::test]
            async fn what_is_no_conflict_runs_once() -> anyhow::Result<()> {
                let Some((_case_database, engine)) = begin().await? else {
                    return Ok(());
                };
                sqlx::query(ADD).execute(&engine).await?;
                let runs = AtomicUsize::new(0);
                let failed: sqlx::Result<()> = engine
                    .transaction(async |transaction| {
                        runs.fetch_add(1, Relaxed);
                        sqlx::query(ADD).execute(transaction).await.map(drop)
                    })
                    .await;
                let runs = runs.into_inner();
                let error = failed.err().and_then(|error| error.into_database_error());
                ensure!(runs == 1 && error.is_some_and(|error| error.is_unique_violation()));
                engine.close_connection_pool().await;
                Ok(())
            }
        }
    };
}

on!(postgres, Postgres, PgEngine);
on!(mariadb, MySql, MySqlEngine);
on!(sqlite, Sqlite, SqliteEngine);

/// Real conflicts between two transactions, which the database resolves itself.
macro_rules! conflicts_on {
    ($module:ident, $database:ty, $engine:ty) => {
        mod $module {
            use super::*;

            /// Runs two conflicting transactions. Both run their first statement before either runs its second, so that one must
            /// fail.
            async fn collide(
                options: TransactionOptions,
                first: [&'static str; 2],
                second: [&'static str; 2],
            ) -> anyhow::Result<Option<(i64, usize, Vec<sqlx::Result<()>>)>> {
                let Some(case_database) = CaseDatabase::of::<$database>("conflicts").await? else {
                    return Ok(None);
                };
                let settings = Settings::new()
                    .engine(concat!("conflicts_", stringify!($module)))
                    .url(case_database.url());
                let engine: Engine<$database> = engine_finder_with(&settings)?;
                engine.start_connection_pool().await?;
                sqlx::raw_sql(
                    "CREATE TABLE entry (id INTEGER PRIMARY KEY, value INTEGER NOT NULL); \
                     INSERT INTO entry VALUES (1, 0), (2, 0)",
                )
                .execute(&engine)
                .await?;
                let both = Arc::new(Barrier::new(2));
                let runs = AtomicUsize::new(0);
                let one = async |statements: [&'static str; 2]| {
                    let first_time = AtomicBool::new(true);
                    engine
                        .transaction_with(options.clone(), async |transaction| {
                            runs.fetch_add(1, Relaxed);
                            let other = first_time.swap(false, Relaxed).then_some(&both);
                            sqlx::query(statements[0])
                                .execute(&mut *transaction)
                                .await?;
                            if let Some(other) = other {
                                other.wait().await;
                            }
                            sqlx::query(statements[1])
                                .execute(transaction)
                                .await
                                .map(drop)
                        })
                        .await
                };
                let (first, second) = tokio::join!(one(first), one(second));
                let sum: String =
                    sqlx::query_scalar("SELECT CAST(sum(value) AS CHAR(9)) FROM entry")
                        .fetch_one(&engine)
                        .await?;
                engine.close_connection_pool().await;
                Ok(Some((
                    sum.trim().parse()?,
                    runs.into_inner(),
                    vec![first, second],
                )))
            }

            const ONE: &str = "UPDATE entry SET value = value + 1 WHERE id = 1";
            const TWO: &str = "UPDATE entry SET value = value + 1 WHERE id = 2";
            const READ: &str = "SELECT sum(value) FROM entry";

            fn serializable() -> TransactionOptions {
                TransactionOptions::new().isolation(IsolationLevel::Serializable)
            }

            #[tokio::test]
            async fn a_deadlock_is_run_again() -> anyhow::Result<()> {
                let options = TransactionOptions::new();
                if let Some((sum, runs, ended)) = collide(options, [ONE, TWO], [TWO, ONE]).await? {
                    ensure!(ended.iter().all(Result::is_ok), "{ended:?}");
                    ensure!(sum == 4 && runs >= 3, "sum {sum} after {runs} runs");
                }
                Ok(())
            }

            #[tokio::test]
            async fn two_serializable_ones_that_cross_are_run_again() -> anyhow::Result<()> {
                if let Some((sum, runs, ended)) =
                    collide(serializable(), [READ, ONE], [READ, TWO]).await?
                {
                    ensure!(ended.iter().all(Result::is_ok), "{ended:?}");
                    ensure!(sum == 2 && runs >= 3, "sum {sum} after {runs} runs");
                }
                Ok(())
            }

            #[tokio::test]
            async fn without_retries_the_conflict_is_the_error() -> anyhow::Result<()> {
                let options = serializable().retries(0);
                if let Some((sum, runs, ended)) = collide(options, [READ, ONE], [READ, TWO]).await?
                {
                    ensure!(sum == 1 && runs == 2, "sum {sum} after {runs} runs");
                    let failed = ended.into_iter().find_map(Result::err);
                    let code = failed
                        .as_ref()
                        .and_then(|error| error.as_database_error()?.code());
                    ensure!(code.as_deref() == Some("40001"), "{failed:?}");
                }
                Ok(())
            }
        }
    };
}

conflicts_on!(postgres_conflicts, Postgres, PgEngine);
conflicts_on!(mariadb_conflicts, MySql, MySqlEngine);

#[tokio::test]
async fn retries_run_out_with_a_number() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<Postgres>("retries").await? else {
        return Ok(());
    };
    let settings = Settings::new().engine("retries").url(case_database.url());
    let engine: PgEngine = engine_finder_with(&settings)?;
    let runs = AtomicUsize::new(0);
    let ended = engine
        .transaction_with(TransactionOptions::new().retries(2), async |transaction| {
            runs.fetch_add(1, Relaxed);
            // The closure ignores the error, which is a conflict all the same.
            let _ = sqlx::query("DO $$ BEGIN RAISE 'on purpose' USING ERRCODE = '40001'; END $$")
                .execute(transaction)
                .await;
            sqlx::Result::Ok(())
        })
        .await;
    let runs = runs.into_inner();
    let error = ended.err().unwrap_or(sqlx::Error::RowNotFound);
    let text = error.to_string();
    ensure!(
        matches!(
            TransactionError::find(&error),
            Some(TransactionError::RetriesRanOut { attempts: 3, .. })
        ) && runs == 3,
        "{text}"
    );
    ensure!(
        text.contains("`retries`") && text.contains("on purpose"),
        "{text}"
    );
    Ok(())
}

#[tokio::test]
async fn a_failure_that_was_swallowed_is_not_called_a_commit() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<Postgres>("swallowed").await? else {
        return Ok(());
    };
    let settings = Settings::new().engine("swallowed").url(case_database.url());
    let engine: PgEngine = engine_finder_with(&settings)?;
    let ended = engine
        .transaction(async |transaction| {
            let _ = sqlx::query("SELECT 1 / 0").execute(transaction).await;
            sqlx::Result::Ok(())
        })
        .await;
    let code = ended
        .as_ref()
        .err()
        .and_then(|error: &sqlx::Error| error.as_database_error()?.code());
    ensure!(code.as_deref() == Some("25P02"), "{ended:?}");
    Ok(())
}

#[tokio::test]
async fn a_commit_without_an_answer_is_not_repeated() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<Postgres>("unknown").await? else {
        return Ok(());
    };
    let settings = Settings::new().engine("unknown").url(case_database.url());
    let engine: PgEngine = engine_finder_with(&settings)?;
    // The trigger ends its own session at the commit.
    sqlx::raw_sql(
        "CREATE TABLE entry (id INTEGER); \
         CREATE FUNCTION leave() RETURNS trigger LANGUAGE plpgsql AS \
           'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END'; \
         CREATE CONSTRAINT TRIGGER leave AFTER INSERT ON entry DEFERRABLE INITIALLY DEFERRED \
           FOR EACH ROW EXECUTE FUNCTION leave()",
    )
    .execute(&engine)
    .await?;
    let runs = AtomicUsize::new(0);
    let ended = engine
        .transaction(async |transaction| {
            runs.fetch_add(1, Relaxed);
            sqlx::query("INSERT INTO entry VALUES (1)")
                .execute(transaction)
                .await
                .map(drop)
        })
        .await;
    let runs = runs.into_inner();
    let error = ended.err().unwrap_or(sqlx::Error::RowNotFound);
    ensure!(
        matches!(
            TransactionError::find(&error),
            Some(TransactionError::OutcomeUnknown { .. })
        ) && runs == 1,
        "{error}"
    );
    let mut by_hand = engine.begin().await?;
    sqlx::query("INSERT INTO entry VALUES (2)")
        .execute(&mut by_hand)
        .await?;
    let error = by_hand.commit().await.err();
    let error = error.unwrap_or(sqlx::Error::RowNotFound);
    ensure!(
        matches!(
            TransactionError::find(&error),
            Some(TransactionError::OutcomeUnknown { .. })
        ),
        "by hand: {error}"
    );
    Ok(())
}

#[tokio::test]
async fn read_only_is_the_servers_word() -> anyhow::Result<()> {
    let options = TransactionOptions::new().read_only();
    macro_rules! refused {
        ($database:ty, $refusal:expr) => {
            if let Some(case_database) = CaseDatabase::of::<$database>("read_only").await? {
                let settings = Settings::new()
                    .engine(stringify!($database))
                    .url(case_database.url());
                let engine: Engine<$database> = engine_finder_with(&settings)?;
                let ended = engine
                    .transaction_with(options.clone(), async |transaction| {
                        sqlx::query("CREATE TABLE entry (id INTEGER)")
                            .execute(transaction)
                            .await
                            .map(drop)
                    })
                    .await;
                let text = ended
                    .err()
                    .map(|error| error.to_string())
                    .unwrap_or_default();
                ensure!(text.contains($refusal), "{text}");
            }
        };
    }
    refused!(Postgres, "read-only transaction");
    refused!(MySql, "READ ONLY transaction");
    refused!(Sqlite, "SQLite has no READ ONLY transactions");
    Ok(())
}
