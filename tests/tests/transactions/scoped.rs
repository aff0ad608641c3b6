//! `Engine::scoped_transaction`: code that only has the engine joins the transaction around it.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use anyhow::{Context, ensure};
use futures_util::{FutureExt, TryStreamExt, future::BoxFuture};
use poolhouse::{
    Engine, MySqlEngine, PgEngine, Settings, SqliteEngine, TransactionError, engine_finder_with,
};
use poolhouse_tests::{CaseDatabase, Heard};
use sqlx::{AssertSqlSafe, MySql, Postgres, Sqlite};
use tokio::sync::{Barrier, oneshot};

/// Whether two parts of a task used a transaction at once, which is an error.
fn in_use<T>(ended: &sqlx::Result<T>) -> bool {
    let error = ended.as_ref().err().and_then(TransactionError::find);
    matches!(error, Some(TransactionError::InUse { .. }))
}

/// The same promises on each database.
macro_rules! on {
    ($module:ident, $database:ty, $engine:ty) => {
        mod $module {
            use super::*;

            async fn begin(name: &str) -> anyhow::Result<Option<(CaseDatabase, $engine)>> {
                let Some(case_database) = CaseDatabase::of::<$database>("scoped").await? else {
                    return Ok(None);
                };
                let engine = engine_on(&case_database, name).await?;
                sqlx::raw_sql(
                    "CREATE TABLE entry (id INTEGER PRIMARY KEY, value INTEGER NOT NULL)",
                )
                .execute(&engine)
                .await?;
                Ok(Some((case_database, engine)))
            }

            async fn engine_on(
                case_database: &CaseDatabase,
                name: &str,
            ) -> anyhow::Result<$engine> {
                let settings = Settings::new()
                    .engine(name)
                    .url(case_database.url())
                    .close_timeout("100ms");
                let engine: Engine<$database> = engine_finder_with(&settings)?;
                engine.start_connection_pool().await?;
                Ok(engine)
            }

            fn insert(
                id: i32,
            ) -> sqlx::query::Query<'static, $database, <$database as sqlx::Database>::Arguments>
            {
                sqlx::query(AssertSqlSafe(format!("INSERT INTO entry VALUES ({id}, 0)")))
            }

            /// Code that only has the engine.
            async fn add(db: &$engine, id: i32) -> sqlx::Result<()> {
                db.scoped_transaction(async |transaction| {
                    insert(id).execute(transaction).await.map(drop)
                })
                .await
            }

            /// Code that only has the engine, inserts a row, notifies the caller and never ends.
            fn add_and_stay(
                db: &$engine,
                id: i32,
            ) -> (BoxFuture<'static, sqlx::Result<()>>, oneshot::Receiver<()>) {
                let (started, added) = oneshot::channel();
                let started = Arc::new(Mutex::new(Some(started)));
                let work = db.scoped_transaction(async move |transaction| {
                    insert(id).execute(transaction).await?;
                    let started = started.lock().unwrap().take();
                    started.map(|started| started.send(()));
                    std::future::pending().await
                });
                (Box::pin(work), added)
            }

            async fn ids(db: &$engine) -> sqlx::Result<Vec<i32>> {
                sqlx::query_scalar("SELECT id FROM entry ORDER BY id")
                    .fetch_all(db)
                    .await
            }

            #[tokio::test]
            async fn what_joins_shares_the_fate_of_the_whole() -> anyhow::Result<()> {
                let Some((_case_database, db)) = begin("fate").await? else {
                    return Ok(());
                };
                for (well, expected) in [(false, vec![]), (true, vec![1, 2, 3, 4])] {
                    let ended = db
                        .transaction(async |transaction| {
                            insert(1).execute(&mut *transaction).await?;
                            add(&db, 2).await?;
                            // The outer transaction sees the row of the joined one.
                            let count: i64 = sqlx::query_scalar("SELECT count(*) FROM entry")
                                .fetch_one(&mut *transaction)
                                .await?;
                            ensure!(count == 2, "{count}");
                            // Code inside a nested transaction joins the nested one.
                            let again = db.clone();
                            transaction
                                .transaction(async |nested| {
                                    add(&again, 3).await?;
                                    insert(4).execute(nested).await.map(drop)
                                })
                                .await?;
                            ensure!(ids(&db).await?.is_empty(), "the engine does not join");
                            ensure!(well, "no");
                            anyhow::Ok(())
                        })
                        .await;
                    ensure!(ended.is_ok() == well, "{ended:?}");
                    ensure!(ids(&db).await? == expected);
                }
                // This one has no outer transaction.
                add(&db, 5).await?;
                ensure!(ids(&db).await? == [1, 2, 3, 4, 5]);
                db.close_connection_pool().await;
                Ok(())
            }

            #[tokio::test]
            async fn what_fails_inside_is_undone_alone() -> anyhow::Result<()> {
                let Some((_case_database, db)) = begin("alone").await? else {
                    return Ok(());
                };
                db.scoped_transaction(async |transaction| {
                    insert(1).execute(transaction).await?;
                    // A duplicate id two levels down, which fails the whole transaction on Postgres.
                    let failed: sqlx::Result<()> = db
                        .scoped_transaction(async |middle| {
                            insert(2).execute(middle).await?;
                            add(&db, 3).await?;
                            add(&db, 1).await
                        })
                        .await;
                    let failed = failed.err().and_then(|error| error.into_database_error());
                    ensure!(failed.is_some_and(|error| error.is_unique_violation()));
                    // A panic.
                    let panics = db.scoped_transaction::<(), sqlx::Error, _>(async |transaction| {
                        insert(4).execute(transaction).await?;
                        panic!("on purpose")
                    });
                    ensure!(AssertUnwindSafe(panics).catch_unwind().await.is_err());
                    // A cancellation.
                    let (stays, added) = add_and_stay(&db, 5);
                    tokio::select! {
                        _ = stays => anyhow::bail!("it ended"),
                        added = added => added?,
                    }
                    add(&db, 6).await?;
                    anyhow::Ok(())
                })
                .await?;
                ensure!(ids(&db).await? == [1, 6]);
                db.close_connection_pool().await;
                Ok(())
            }

            #[tokio::test]
            async fn two_at_once_is_an_error_and_not_a_wait() -> anyhow::Result<()> {
                let Some((_case_database, db)) = begin("at_once").await? else {
                    return Ok(());
                };
                db.transaction(async |transaction| {
                    insert(1).execute(&mut *transaction).await?;
                    // While a future is inside its own scoped transaction.
                    let (mut stays, added) = add_and_stay(&db, 2);
                    tokio::select! {
                        _ = &mut stays => anyhow::bail!("it ended"),
                        added = added => added?,
                    }
                    let beside = add(&db, 3).await;
                    ensure!(in_use(&beside), "{beside:?}");
                    let above = insert(3).execute(&mut *transaction).await;
                    ensure!(in_use(&above), "{above:?}");
                    drop(stays);
                    // While a stream is open.
                    let mut rows = sqlx::query("SELECT id FROM entry").fetch(&mut *transaction);
                    ensure!(rows.try_next().await?.is_some());
                    let beside = add(&db, 3).await;
                    ensure!(in_use(&beside), "{beside:?}");
                    drop(rows);
                    // After the driver's connection was borrowed.
                    insert(4).execute(transaction.as_mut()).await?;
                    let beside = add(&db, 3).await;
                    ensure!(in_use(&beside), "{beside:?}");
                    insert(5).execute(transaction).await?;
                    add(&db, 6).await?;
                    Ok(())
                })
                .await?;
                ensure!(ids(&db).await? == [1, 4, 5, 6]);
                db.close_connection_pool().await;
                Ok(())
            }

            #[tokio::test]
            async fn what_is_forgotten_is_never_committed() -> anyhow::Result<()> {
                let Some((_case_database, db)) = begin("forgotten").await? else {
                    return Ok(());
                };
                let ended = db
                    .transaction(async |transaction| {
                        insert(1).execute(transaction).await?;
                        let (mut stays, added) = add_and_stay(&db, 2);
                        tokio::select! {
                            _ = &mut stays => {}
                            _ = added => {}
                        }
                        std::mem::forget(stays);
                        sqlx::Result::Ok(())
                    })
                    .await;
                ensure!(in_use(&ended), "{ended:?}");
                ensure!(ids(&db).await?.is_empty());
                ensure!(db.status().in_use == 1, "{:?}", db.status());
                let report = db.close_connection_pool().await;
                ensure!(db.status().in_use == 0, "{report:?}");
                Ok(())
            }

            #[tokio::test]
            async fn a_forgotten_one_of_the_driver_does_not_swallow_the_commit()
            -> anyhow::Result<()> {
                let Some((_case_database, db)) = begin("swallowed").await? else {
                    return Ok(());
                };
                let mut transaction = db.begin().await?;
                insert(1).execute(&mut transaction).await?;
                let mut nested = transaction.begin_nested().await?;
                insert(2).execute(&mut *nested).await?;
                std::mem::forget(nested);
                transaction.commit().await?;
                ensure!(ids(&db).await? == [1]);
                db.close_connection_pool().await;
                Ok(())
            }

            #[tokio::test]
            async fn other_tasks_and_other_engines_do_not_join() -> anyhow::Result<()> {
                let Some((case_database, db)) = begin("first").await? else {
                    return Ok(());
                };
                let other = engine_on(&case_database, "second").await?;
                add(&db, 1).await?;
                db.transaction(async |transaction| {
                    insert(2).execute(transaction).await?;
                    let spawned = tokio::spawn({
                        let db = db.clone();
                        async move { seen(&db).await }
                    });
                    ensure!(spawned.await?? == 1);
                    ensure!(seen(&other).await? == 1);
                    // Inside the other engine's transaction, code joins the first one's.
                    let back = other.scoped_transaction(async |_| seen(&db).await).await?;
                    ensure!(back == 2);
                    anyhow::Ok(())
                })
                .await?;
                db.close_connection_pool().await;
                other.close_connection_pool().await;
                Ok(())
            }

            async fn seen(db: &$engine) -> sqlx::Result<i64> {
                db.scoped_transaction(async |transaction| {
                    sqlx::query_scalar("SELECT count(*) FROM entry")
                        .fetch_one(transaction)
                        .await
                })
                .await
            }

            #[tokio::test]
            async fn the_log_says_what_goes_beside() -> anyhow::Result<()> {
                let Some((_case_database, db)) = begin("beside").await? else {
                    return Ok(());
                };
                let heard = Heard::here();
                ids(&db).await?;
                ensure!(heard.lines("inside of").is_empty());
                db.transaction(async |_| {
                    ids(&db).await?;
                    db.begin().await?.rollback().await
                })
                .await?;
                let lines = heard.lines("inside of");
                ensure!(
                    lines.len() == 2
                        && lines[0].contains("a query runs on another connection")
                        && lines[1].contains("a transaction begins on another connection"),
                    "{lines:?}"
                );
                db.close_connection_pool().await;
                Ok(())
            }
        }
    };
}

on!(postgres, Postgres, PgEngine);
on!(mariadb, MySql, MySqlEngine);
on!(sqlite, Sqlite, SqliteEngine);

/// A deadlock in the scoped parts of two transactions, one of which continues after it.
macro_rules! conflicts_on {
    ($name:ident, $database:ty, $engine:ty) => {
        #[tokio::test]
        async fn $name() -> anyhow::Result<()> {
            async fn update(db: &$engine, runs: &AtomicUsize, id: i32) -> sqlx::Result<()> {
                runs.fetch_add(1, Relaxed);
                db.scoped_transaction(async |transaction| {
                    let sql = format!("UPDATE entry SET value = value + 1 WHERE id = {id}");
                    sqlx::query(AssertSqlSafe(sql))
                        .execute(transaction)
                        .await
                        .map(drop)
                })
                .await
            }

            let Some(case_database) = CaseDatabase::of::<$database>("scoped").await? else {
                return Ok(());
            };
            let settings = Settings::new()
                .engine(stringify!($name))
                .url(case_database.url());
            let db: $engine = engine_finder_with(&settings)?;
            db.start_connection_pool().await?;
            sqlx::raw_sql(
                "CREATE TABLE entry (id INTEGER PRIMARY KEY, value INTEGER NOT NULL); \
                 INSERT INTO entry VALUES (1, 0), (2, 0)",
            )
            .execute(&db)
            .await?;
            let both = Arc::new(Barrier::new(2));
            let (outer, inner) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
            let one = async |first: i32, second: i32| {
                let first_time = AtomicBool::new(true);
                db.transaction::<_, sqlx::Error, _>(async |transaction| {
                    outer.fetch_add(1, Relaxed);
                    let other = first_time.swap(false, Relaxed).then_some(&both);
                    update(&db, &inner, first).await?;
                    if let Some(other) = other {
                        other.wait().await;
                    }
                    // The outer transaction ignores the error, writes, and is run again all the same.
                    if update(&db, &inner, second).await.is_err() {
                        let ended = sqlx::query("INSERT INTO entry VALUES (3, 0)")
                            .execute(transaction)
                            .await;
                        let error = ended.as_ref().err().and_then(TransactionError::find);
                        assert!(
                            matches!(error, Some(TransactionError::AfterConflict { .. })),
                            "{ended:?}"
                        );
                    }
                    sqlx::Result::Ok(())
                })
                .await
            };
            let (first, second) = tokio::join!(one(1, 2), one(2, 1));
            first.context("the first")?;
            second.context("the second")?;
            let (outer, inner) = (outer.into_inner(), inner.load(Relaxed));
            ensure!(
                outer >= 3 && inner == 2 * outer,
                "{outer} runs with {inner} inside"
            );
            let values: Vec<i32> = sqlx::query_scalar("SELECT value FROM entry ORDER BY id")
                .fetch_all(&db)
                .await?;
            ensure!(values == [2, 2], "{values:?}");
            db.close_connection_pool().await;
            Ok(())
        }
    };
}

conflicts_on!(
    a_conflict_inside_reruns_the_whole_on_postgres,
    Postgres,
    PgEngine
);
conflicts_on!(
    a_conflict_inside_reruns_the_whole_on_mariadb,
    MySql,
    MySqlEngine
);

/// A write after a read, when another write has made the snapshot outdated.
#[tokio::test]
async fn a_conflict_inside_reruns_the_whole_on_sqlite() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<Sqlite>("scoped").await? else {
        return Ok(());
    };
    let settings = Settings::new().engine("snapshot").url(case_database.url());
    let db: SqliteEngine = engine_finder_with(&settings)?;
    db.start_connection_pool().await?;
    sqlx::raw_sql("CREATE TABLE entry (id INTEGER PRIMARY KEY)")
        .execute(&db)
        .await?;
    let (outer, inner) = (AtomicUsize::new(0), AtomicUsize::new(0));
    db.transaction(async |transaction| {
        let first = outer.fetch_add(1, Relaxed) == 0;
        sqlx::query("SELECT count(*) FROM entry")
            .execute(transaction)
            .await?;
        if first {
            sqlx::query("INSERT INTO entry VALUES (1)")
                .execute(&db)
                .await?;
        }
        db.scoped_transaction(async |transaction| {
            inner.fetch_add(1, Relaxed);
            sqlx::query("INSERT INTO entry VALUES (2)")
                .execute(transaction)
                .await
                .map(drop)
        })
        .await
    })
    .await?;
    let outer = outer.into_inner();
    ensure!(outer == 2 && inner.load(Relaxed) == 2, "{outer} runs");
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM entry")
        .fetch_one(&db)
        .await?;
    ensure!(count == 2, "{count} rows");
    db.close_connection_pool().await;
    Ok(())
}
