//! `Transaction::on_commit` runs a future once after the commit, and never otherwise.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{Context, ensure};
use futures_util::FutureExt;
use poolhouse::{
    MySqlEngine, PgEngine, Settings, SqliteEngine, Transaction, TransactionOptions,
    engine_finder_with,
};
use poolhouse_tests::steps::outside_any_runtime;
use poolhouse_tests::{CaseDatabase, Heard, Program};
use sqlx::{AssertSqlSafe, MySql, Postgres, Sqlite};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// The names of the futures that ran after commits, in order.
#[derive(Clone, Default)]
struct Done(Arc<Mutex<Vec<&'static str>>>);

impl Done {
    /// A future for `on_commit` that adds its name.
    fn later(&self, what: &'static str) -> impl Future<Output = ()> + Send + 'static {
        let done = self.clone();
        async move { done.0.lock().unwrap().push(what) }
    }

    fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

macro_rules! on {
    ($module:ident, $database:ty, $engine:ty, $conflict:expr) => {
        mod $module {
            use super::*;

            async fn begin() -> anyhow::Result<Option<(CaseDatabase, $engine)>> {
                let Some(case_database) = CaseDatabase::of::<$database>("on_commit").await? else {
                    return Ok(None);
                };
                // A future after the commit finds the only connection in the pool.
                let settings = Settings::new()
                    .engine(concat!("on_commit_", stringify!($module)))
                    .url(case_database.url())
                    .max_size(1)
                    .acquire_timeout("10s");
                let engine: $engine = engine_finder_with(&settings)?;
                engine.start_connection_pool().await?;
                sqlx::raw_sql("CREATE TABLE entry (id INTEGER PRIMARY KEY)")
                    .execute(&engine)
                    .await?;
                Ok(Some((case_database, engine)))
            }

            async fn insert(tx: &mut Transaction<$database>, id: i32) -> sqlx::Result<()> {
                let sql = format!("INSERT INTO entry VALUES ({id})");
                sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await?;
                Ok(())
            }

            #[tokio::test]
            async fn it_is_done_once_after_two_conflicts() -> anyhow::Result<()> {
                let Some((case_database, engine)) = begin().await? else {
                    return Ok(());
                };
                let (done, runs) = (Done::default(), AtomicUsize::new(0));
                let count = Arc::new(AtomicUsize::new(0));
                engine
                    .transaction(async |tx| {
                        tx.on_commit(done.later("first"));
                        let (engine, count) = (engine.clone(), Arc::clone(&count));
                        // The connection is back in the pool.
                        tx.on_commit(async move {
                            let seen: Result<i64, _> =
                                sqlx::query_scalar("SELECT count(*) FROM entry")
                                    .fetch_one(&engine)
                                    .await;
                            count.store(usize::try_from(seen.unwrap()).unwrap(), Relaxed);
                        });
                        if runs.fetch_add(1, Relaxed) < 2 {
                            $conflict(&case_database, &mut *tx).await?;
                        }
                        insert(&mut *tx, 1).await?;
                        anyhow::Ok(())
                    })
                    .await?;
                ensure!(runs.load(Relaxed) == 3, "{runs:?}");
                ensure!(
                    done.take() == ["first"] && count.load(Relaxed) > 0,
                    "{count:?}"
                );
                engine.close_connection_pool().await;
                Ok(())
            }

            #[tokio::test]
            async fn it_is_not_done_when_nothing_is_committed() -> anyhow::Result<()> {
                let Some((case_database, engine)) = begin().await? else {
                    return Ok(());
                };
                let done = Done::default();
                // An error.
                let failed = engine.transaction(async |tx| {
                    tx.on_commit(done.later("an error"));
                    insert(&mut *tx, 1).await?;
                    insert(&mut *tx, 1).await
                });
                ensure!(failed.await.is_err());
                // A panic.
                let panics = engine.transaction::<(), sqlx::Error, _>(async |tx| {
                    tx.on_commit(done.later("a panic"));
                    insert(&mut *tx, 1).await?;
                    panic!("on purpose")
                });
                ensure!(AssertUnwindSafe(panics).catch_unwind().await.is_err());
                // A cancellation.
                let (ran, has_run) = oneshot::channel();
                let ran = Mutex::new(Some(ran));
                let cancelled = engine.transaction::<(), sqlx::Error, _>(async |tx| {
                    tx.on_commit(done.later("a cancellation"));
                    insert(&mut *tx, 1).await?;
                    let ran = ran.lock().unwrap().take();
                    ran.map(|ran| ran.send(()));
                    std::future::pending().await
                });
                tokio::select! {
                    _ = cancelled => anyhow::bail!("it ended"),
                    has_run = has_run => has_run?,
                }
                // A rollback by hand, and a transaction that is dropped.
                let mut tx = engine.begin().await?;
                tx.on_commit(done.later("a rollback"));
                tx.rollback().await?;
                let mut tx = engine.begin().await?;
                tx.on_commit(done.later("a drop"));
                drop(tx);
                // Retries that run out.
                let ran_out =
                    engine.transaction_with(TransactionOptions::new().retries(1), async |tx| {
                        tx.on_commit(done.later("a conflict"));
                        $conflict(&case_database, &mut *tx).await
                    });
                let ran_out: anyhow::Result<()> = ran_out.await;
                ensure!(ran_out.is_err());
                // A commit that fails, because no transaction is open.
                let lost = engine.transaction::<_, sqlx::Error, _>(async |tx| {
                    tx.on_commit(done.later("a commit that failed"));
                    insert(&mut *tx, 2).await?;
                    sqlx::raw_sql("ROLLBACK").execute(&mut *tx).await?;
                    Ok(())
                });
                ensure!(lost.await.is_err());
                // No future is pending either: the next transaction ends after all earlier work.
                engine
                    .transaction(async |tx| insert(&mut *tx, 3).await)
                    .await?;
                engine.close_connection_pool().await;
                poolhouse::wait_closed().await;
                ensure!(done.take().is_empty(), "{:?}", done.take());
                ensure!(
                    case_database
                        .answer::<$database>("SELECT count(*) FROM entry WHERE id < 3")
                        .await?
                        == 0
                );
                Ok(())
            }

            #[tokio::test]
            async fn a_savepoint_takes_its_own_with_it() -> anyhow::Result<()> {
                let Some((_case_database, engine)) = begin().await? else {
                    return Ok(());
                };
                let done = Done::default();
                let scoped = async |id: i32, what: &'static str| {
                    engine
                        .scoped_transaction(async |tx| {
                            tx.on_commit(done.later(what));
                            insert(&mut *tx, id).await
                        })
                        .await
                };
                engine
                    .transaction(async |tx| {
                        tx.on_commit(done.later("outer"));
                        tx.transaction(async |tx| {
                            tx.on_commit(done.later("kept"));
                            insert(&mut *tx, 1).await
                        })
                        .await?;
                        let undone: sqlx::Result<()> = tx
                            .transaction(async |tx| {
                                tx.on_commit(done.later("undone"));
                                scoped(2, "undone with what is around it").await?;
                                insert(&mut *tx, 1).await
                            })
                            .await;
                        ensure!(undone.is_err());
                        scoped(3, "scoped").await?;
                        ensure!(scoped(3, "undone scoped").await.is_err());
                        ensure!(done.take().is_empty(), "before the commit");
                        tx.on_commit(done.later("last"));
                        Ok(())
                    })
                    .await?;
                let order = done.take();
                ensure!(order == ["outer", "kept", "scoped", "last"], "{order:?}");
                // Without a transaction around it, a scoped one is the outermost.
                scoped(4, "alone").await?;
                ensure!(done.take() == ["alone"]);
                engine.close_connection_pool().await;
                Ok(())
            }

            #[tokio::test]
            async fn a_panic_in_it_is_logged_and_no_failure() -> anyhow::Result<()> {
                let Some((_case_database, engine)) = begin().await? else {
                    return Ok(());
                };
                let (done, heard) = (Done::default(), Heard::here());
                let mut tx = engine.begin().await?;
                insert(&mut tx, 1).await?;
                tx.on_commit(async { panic!("on purpose") });
                tx.on_commit(done.later("after the panic"));
                tx.commit().await?;
                ensure!(done.take() == ["after the panic"]);
                ensure!(
                    heard.lines("`on_commit`").len() == 1,
                    "{}",
                    heard.everything()
                );
                engine.close_connection_pool().await;
                Ok(())
            }

            #[tokio::test]
            async fn a_caller_who_goes_away_after_the_commit_stops_nothing() -> anyhow::Result<()> {
                let Some((_case_database, engine)) = begin().await? else {
                    return Ok(());
                };
                let done = Done::default();
                let (begun, has_begun) = oneshot::channel();
                let (go, may_go) = oneshot::channel::<()>();
                let mut tx = engine.begin().await?;
                insert(&mut tx, 1).await?;
                let later = done.later("all of it");
                tx.on_commit(async move {
                    let _ = begun.send(());
                    let _ = may_go.await;
                    later.await;
                });
                tokio::select! {
                    ended = tx.commit() => anyhow::bail!("it ended: {ended:?}"),
                    begun = has_begun => begun?,
                }
                ok(go.send(()))?;
                poolhouse::wait_closed().await;
                ensure!(done.take() == ["all of it"]);
                engine.close_connection_pool().await;
                Ok(())
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn the_end_of_the_callers_runtime_stops_nothing() -> anyhow::Result<()> {
                let Some((_case_database, engine)) = begin().await? else {
                    return Ok(());
                };
                let done = Done::default();
                let (go, may_go) = oneshot::channel::<()>();
                let later = done.later("all of it");
                let calls = {
                    let engine = engine.clone();
                    async move {
                        let (begun, has_begun) = oneshot::channel();
                        let mut tx = engine.begin().await?;
                        tx.on_commit(async move {
                            let _ = begun.send(());
                            let _ = may_go.await;
                            later.await;
                        });
                        tokio::select! {
                            ended = tx.commit() => anyhow::bail!("it ended: {ended:?}"),
                            begun = has_begun => begun?,
                        }
                        anyhow::Ok(())
                    }
                };
                let caller = move || {
                    let runtime = Builder::new_current_thread().enable_all().build()?;
                    runtime.block_on(calls)
                };
                tokio::task::spawn_blocking(|| thread::spawn(caller).join())
                    .await?
                    .ok()
                    .context("it has panicked")??;
                ok(go.send(()))?;
                poolhouse::wait_closed().await;
                ensure!(done.take() == ["all of it"]);
                engine.close_connection_pool().await;
                Ok(())
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_caller_outside_any_runtime_waits_for_it() -> anyhow::Result<()> {
                let Some((_case_database, engine)) = begin().await? else {
                    return Ok(());
                };
                let done = Done::default();
                let caller = {
                    let (engine, done) = (engine.clone(), done.clone());
                    move || {
                        outside_any_runtime(engine.transaction(async |tx| {
                            tx.on_commit(done.later("outside"));
                            insert(&mut *tx, 1).await
                        }))
                    }
                };
                tokio::task::spawn_blocking(|| thread::spawn(caller).join())
                    .await?
                    .ok()
                    .context("it has panicked")??;
                ensure!(done.take() == ["outside"]);
                engine.close_connection_pool().await;
                Ok(())
            }
        }
    };
}

fn ok(sent: Result<(), ()>) -> anyhow::Result<()> {
    sent.ok().context("nobody waits for it")
}

async fn conflict_on_postgres(
    _: &CaseDatabase,
    tx: &mut Transaction<Postgres>,
) -> anyhow::Result<()> {
    let sql = "DO $$ BEGIN RAISE 'on purpose' USING ERRCODE = '40001'; END $$";
    sqlx::query(sql).execute(&mut *tx).await?;
    Ok(())
}

async fn conflict_on_mariadb(_: &CaseDatabase, tx: &mut Transaction<MySql>) -> anyhow::Result<()> {
    let sql = "SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'on purpose'";
    sqlx::raw_sql(sql).execute(&mut *tx).await?;
    Ok(())
}

/// Reads, lets another connection write, and then writes.
async fn conflict_on_sqlite(
    case_database: &CaseDatabase,
    tx: &mut Transaction<Sqlite>,
) -> anyhow::Result<()> {
    sqlx::query("SELECT count(*) FROM entry")
        .execute(&mut *tx)
        .await?;
    case_database
        .run::<Sqlite>(
            "INSERT INTO entry SELECT max(id) + 1000 FROM (SELECT id FROM entry UNION SELECT 0)",
        )
        .await?;
    sqlx::query("INSERT INTO entry VALUES (100)")
        .execute(&mut *tx)
        .await?;
    Ok(())
}

on!(postgres, Postgres, PgEngine, conflict_on_postgres);
on!(mariadb, MySql, MySqlEngine, conflict_on_mariadb);
on!(sqlite, Sqlite, SqliteEngine, conflict_on_sqlite);

/// The program waits for a future as long as for its closes, and not for ever.
#[tokio::test]
async fn a_future_without_an_end_does_not_hold_up_the_program() -> anyhow::Result<()> {
    let program = Program::new(env!("CARGO_BIN_EXE_plain"))?
        .argument("endless_hook")
        .variable("DATABASE_URL", "sqlite::memory:");
    let ended = program.run().await?;
    ensure!(ended.code() == Some(0), "{}", ended.everything());
    ensure!(ended.output.contains("committed: true"), "{}", ended.output);
    Ok(())
}

/// The program waits for a future before it closes its pools.
#[tokio::test]
async fn a_future_that_runs_after_the_end_of_main_has_its_database() -> anyhow::Result<()> {
    let program = Program::new(env!("CARGO_BIN_EXE_plain"))?
        .argument("late_hook")
        .variable("DATABASE_URL", "sqlite::memory:");
    let ended = program.run().await?;
    ensure!(ended.code() == Some(0), "{}", ended.everything());
    ensure!(ended.output.contains("committed: true"), "{}", ended.output);
    ensure!(
        ended.output.contains("the future is done"),
        "{}",
        ended.output
    );
    Ok(())
}
