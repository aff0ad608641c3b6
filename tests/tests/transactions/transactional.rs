//! `#[transactional]`: the arguments of callers, and their effects.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::FutureExt;
use poolhouse::{
    Engine, MySqlEngine, PgEngine, Settings, SqliteEngine, Transaction, engine_finder_with,
    transactional,
};
use poolhouse_tests::CaseDatabase;
use sqlx::error::DatabaseError;
use sqlx::{AssertSqlSafe, MySql, Postgres, Sqlite};
use tokio::sync::{Barrier, Notify};

/// The program's own error.
#[derive(Debug)]
enum AppError {
    Database(sqlx::Error),
    No(&'static str),
}

impl From<sqlx::Error> for AppError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl std::fmt::Display for AppError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Database(error) => error.fmt(f),
            Self::No(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for AppError {}

/// An argument that a pattern destructures.
#[derive(Clone)]
struct Entry {
    id: i64,
    note: String,
}

/// The same promises on each database.
macro_rules! on {
    ($module:ident, $database:ty, $engine:ty) => {
        mod $module {
            use super::*;

            async fn begin(name: &str) -> anyhow::Result<Option<(CaseDatabase, $engine)>> {
                let Some(database) = CaseDatabase::of::<$database>("transactional").await? else {
                    return Ok(None);
                };
                let settings = Settings::new()
                    .engine(format!("transactional_{}_{name}", stringify!($module)))
                    .url(database.url());
                let db: Engine<$database> = engine_finder_with(&settings)?;
                db.start_connection_pool().await?;
                sqlx::raw_sql(
                    "CREATE TABLE entry (id INTEGER PRIMARY KEY, value INTEGER NOT NULL)",
                )
                .execute(&db)
                .await?;
                Ok(Some((database, db)))
            }

            /// The ids in the table, as text.
            async fn there(db: &$engine) -> sqlx::Result<String> {
                let ids: Vec<i32> = sqlx::query_scalar("SELECT id FROM entry ORDER BY id")
                    .fetch_all(db)
                    .await?;
                let ids: Vec<String> = ids.iter().map(i32::to_string).collect();
                Ok(ids.join(" "))
            }

            #[transactional]
            async fn add(tx: &mut Transaction<$database>, id: i64) -> sqlx::Result<()> {
                let insert = format!("INSERT INTO entry VALUES ({id}, 0)");
                sqlx::query(AssertSqlSafe(insert)).execute(tx).await?;
                Ok(())
            }

            #[transactional]
            async fn add_and_fail(tx: &mut Transaction<$database>, id: i64) -> Result<(), AppError> {
                add(&mut *tx, id).await?;
                Err(AppError::No("on purpose"))
            }

            #[transactional]
            async fn add_and_panic(tx: &mut Transaction<$database>, id: i64) -> sqlx::Result<()> {
                add(&mut *tx, id).await?;
                panic!("on purpose")
            }

            #[transactional]
            async fn add_and_wait(tx: &mut Transaction<$database>, id: i64, added: &Barrier) -> sqlx::Result<()> {
                add(&mut *tx, id).await?;
                added.wait().await;
                std::future::pending().await
            }

            #[tokio::test]
            async fn ok_commits_and_all_else_rolls_back() -> anyhow::Result<()> {
                let Some((_database, db)) = begin("ends").await? else {
                    return Ok(());
                };
                add(&db, 1).await?;
                let failed = add_and_fail(&db, 2).await;
                ensure!(matches!(failed, Err(AppError::No("on purpose"))));
                let panicked = AssertUnwindSafe(add_and_panic(&db, 3)).catch_unwind().await;
                ensure!(panicked.is_err());
                let added = Barrier::new(2);
                tokio::select! {
                    _ = add_and_wait(&db, 4, &added) => anyhow::bail!("it ended"),
                    _ = added.wait() => {}
                }
                ensure!(there(&db).await? == "1");
                // The database's own error is passed on, and is no conflict.
                let twice = add(&db, 1).await;
                ensure!(twice.is_err_and(|error| error.as_database_error().is_some()));
                db.close_connection_pool().await;
                Ok(())
            }

            #[transactional]
            async fn keep_what_can_be_kept(tx: &mut Transaction<$database>, ids: &[i64]) -> Result<usize, AppError> {
                let mut kept = 0;
                for id in ids {
                    if id % 2 == 0 {
                        kept += usize::from(add_and_fail(&mut *tx, *id).await.is_ok());
                    } else {
                        add(&mut *tx, *id).await?;
                        kept += 1;
                    }
                }
                Ok(kept)
            }

            #[tokio::test]
            async fn with_a_transaction_it_is_a_savepoint_of_it() -> anyhow::Result<()> {
                let Some((_database, db)) = begin("savepoint").await? else {
                    return Ok(());
                };
                ensure!(keep_what_can_be_kept(&db, &[1, 2, 3, 4]).await? == 2);
                ensure!(there(&db).await? == "1 3");
                let mut tx = db.begin().await?;
                add(&mut tx, 5).await?;
                ensure!(add_and_fail(&mut tx, 6).await.is_err());
                tx.rollback().await?;
                ensure!(there(&db).await? == "1 3");
                db.close_connection_pool().await;
                Ok(())
            }

            #[transactional]
            async fn add_through_the_engine(tx: &mut Transaction<$database>, db: &$engine, fail: bool) -> Result<(), AppError> {
                add(&mut *tx, 1).await?;
                // This call does not get `tx`, and joins it.
                add(db, 2).await?;
                ensure_joined(add_and_fail(db, 3).await)?;
                if fail { Err(AppError::No("on purpose")) } else { Ok(()) }
            }

            fn ensure_joined(failed: Result<(), AppError>) -> Result<(), AppError> {
                match failed {
                    Err(AppError::No(_)) => Ok(()),
                    Err(error) => Err(error),
                    Ok(()) => Err(AppError::No("it did not fail")),
                }
            }

            #[tokio::test]
            async fn with_the_engine_it_joins_the_transaction_around_it() -> anyhow::Result<()> {
                let Some((_database, db)) = begin("joins").await? else {
                    return Ok(());
                };
                ensure!(add_through_the_engine(&db, &db, true).await.is_err());
                ensure!(there(&db).await? == "");
                add_through_the_engine(&db, &db, false).await?;
                ensure!(there(&db).await? == "1 2");
                db.close_connection_pool().await;
                Ok(())
            }

            #[transactional(mandatory)]
            async fn add_inside(tx: &mut Transaction<$database>, id: i64) -> sqlx::Result<()> {
                add(tx, id).await
            }

            #[transactional(durable)]
            async fn add_outside(tx: &mut Transaction<$database>, id: i64) -> sqlx::Result<()> {
                add(tx, id).await
            }

            #[transactional]
            async fn around(tx: &mut Transaction<$database>, db: &$engine) -> Result<[String; 2], AppError> {
                add_inside(&mut *tx, 3).await?;
                add_inside(db, 4).await?;
                let by_engine = add_outside(db, 5).await.err();
                let by_transaction = add_outside(&mut *tx, 6).await.err();
                Ok([by_engine, by_transaction].map(|error| error.map(|error| error.to_string()).unwrap_or_default()))
            }

            #[tokio::test]
            async fn mandatory_is_an_error_outside_and_durable_inside() -> anyhow::Result<()> {
                let Some((_database, db)) = begin("places").await? else {
                    return Ok(());
                };
                let outside = add_inside(&db, 1).await.err().context("it is there")?.to_string();
                ensure!(outside.contains(db.name()) && outside.contains("mandatory"), "{outside}");
                add_outside(&db, 2).await?;
                for inside in around(&db, &db).await? {
                    ensure!(inside.contains(db.name()) && inside.contains("durable"), "{inside:?}");
                }
                ensure!(there(&db).await? == "2 3 4");
                db.close_connection_pool().await;
                Ok(())
            }

            #[transactional(isolation = "serializable")]
            async fn increment(tx: &mut Transaction<$database>, runs: &AtomicUsize, first: &Barrier, write: &Notify, note: String) -> Result<String, AppError> {
                let value: i32 = sqlx::query_scalar("SELECT value FROM entry WHERE id = 1").fetch_one(&mut *tx).await?;
                if runs.fetch_add(1, Relaxed) == 0 {
                    first.wait().await;
                    write.notified().await;
                }
                let update = format!("UPDATE entry SET value = {} WHERE id = 1", value + 1);
                sqlx::query(AssertSqlSafe(update)).execute(tx).await?;
                Ok(note)
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn after_a_conflict_it_is_run_again_with_the_same_arguments() -> anyhow::Result<()> {
                let Some((_database, db)) = begin("conflict").await? else {
                    return Ok(());
                };
                add(&db, 1).await?;
                let (runs, first) = ([AtomicUsize::new(0), AtomicUsize::new(0)], Barrier::new(2));
                let (now, later) = (Notify::new(), Notify::new());
                now.notify_one();
                // On SQLite, two writers that have both read conflict only after the first commit. On the others, the first may
                // wait for a write of the second.
                let is_in_turn = stringify!($database) == "Sqlite";
                if !is_in_turn {
                    later.notify_one();
                }
                let one = async {
                    let done = increment(&db, &runs[0], &first, &now, "one".to_owned()).await;
                    later.notify_one();
                    done
                };
                let other = increment(&db, &runs[1], &first, &later, "other".to_owned());
                let (one, other) = tokio::try_join!(one, other)?;
                ensure!(one == "one" && other == "other");
                let runs = runs.map(AtomicUsize::into_inner);
                ensure!(runs.iter().sum::<usize>() > 2, "{runs:?}");
                let value: i32 = sqlx::query_scalar("SELECT value FROM entry").fetch_one(&db).await?;
                ensure!(value == 2, "{value}");
                db.close_connection_pool().await;
                Ok(())
            }

            #[transactional(retry_if = |error: &AppError| matches!(error, AppError::No("again")), retries = 2)]
            async fn fail_at_first(tx: &mut Transaction<$database>, runs: &AtomicUsize, last: usize) -> Result<(), AppError> {
                add(tx, 1).await?;
                if runs.fetch_add(1, Relaxed) < last {
                    return Err(AppError::No("again"));
                }
                Ok(())
            }

            #[tokio::test]
            async fn retry_if_says_what_else_is_run_again() -> anyhow::Result<()> {
                let Some((_database, db)) = begin("retry_if").await? else {
                    return Ok(());
                };
                let runs = AtomicUsize::new(0);
                fail_at_first(&db, &runs, 2).await?;
                ensure!(runs.into_inner() == 3 && there(&db).await? == "1");
                let runs = AtomicUsize::new(0);
                ensure!(add_and_fail(&db, 2).await.is_err());
                ensure!(fail_at_first(&db, &runs, 9).await.is_err());
                db.close_connection_pool().await;
                Ok(())
            }

            #[derive(Clone)]
            struct Book {
                db: $engine,
                first: i64,
            }

            impl Book {
                fn begin_at(&mut self, first: i64) {
                    self.first = first;
                }

                #[transactional]
                async fn add_first(&self, tx: &mut Transaction<$database>) -> sqlx::Result<&i64> {
                    add(tx, self.first).await?;
                    Ok(&self.first)
                }

                /// Many shapes of parameters at once.
                #[transactional(retries = RETRIES, timeout = "1m")]
                #[tracing::instrument(skip_all)]
                async fn add_all(
                    mut self,
                    Entry { id, note }: Entry,
                    tx: &mut Transaction<$database>,
                    _: u8,
                    mut more: Vec<i64>,
                    next: impl Fn(i64) -> i64 + Clone + Send,
                ) -> Result<(usize, String), AppError> {
                    self.begin_at(next(id));
                    more.extend([id, self.first]);
                    let mut count = 0;
                    while let Some(id) = more.pop() {
                        add(&mut *tx, id).await?;
                        count += 1;
                    }
                    Ok((count, note))
                }

                #[transactional(retries = 0)]
                async fn once(&mut self, tx: &mut Transaction<$database>, out: &mut Vec<i64>) -> sqlx::Result<()> {
                    add(tx, self.first).await?;
                    out.push(self.first);
                    self.first += 1;
                    Ok(())
                }

                #[transactional]
                async fn shared(self: Arc<Self>, tx: &mut Transaction<$database>) -> Result<Box<dyn std::fmt::Display + Send>, AppError> {
                    self.clone().add_first(tx).await?;
                    Ok(Box::new(self.first))
                }
            }

            const RETRIES: usize = 3;

            #[tokio::test]
            async fn it_stands_on_methods() -> anyhow::Result<()> {
                let Some((_database, db)) = begin("methods").await? else {
                    return Ok(());
                };
                let mut book = Book { db: db.clone(), first: 1 };
                ensure!(*book.add_first(&book.db).await? == 1);
                let entry = Entry { id: 10, note: "note".to_owned() };
                let added = book.clone().add_all(entry, &db, 0, vec![20], |id| id + 1).await?;
                ensure!(added == (3, "note".to_owned()), "{added:?}");
                let mut out = Vec::new();
                book.first = 30;
                book.once(&db, &mut out).await?;
                ensure!(out == [30] && book.first == 31);
                let shown = Arc::new(book).shared(&db).await?;
                ensure!(shown.to_string() == "31");
                ensure!(there(&db).await? == "1 10 11 20 30 31");
                db.close_connection_pool().await;
                Ok(())
            }

            #[transactional]
            async fn named<N: AsRef<str> + Sync>(tx: &mut Transaction<$database>, names: &[N]) -> sqlx::Result<impl Iterator<Item = usize>> {
                for (id, _) in (1_i64..).zip(names) {
                    add(&mut *tx, id).await?;
                }
                Ok(names.iter().map(|name| name.as_ref().len()))
            }

            #[tokio::test]
            async fn it_is_generic_opaque_and_spawned() -> anyhow::Result<()> {
                let Some((_database, db)) = begin("spawned").await? else {
                    return Ok(());
                };
                let spawned = tokio::spawn({
                    let db = db.clone();
                    async move {
                        let names = ["a".to_owned(), "bcd".to_owned()];
                        let lengths: Vec<usize> = named(&db, &names).await?.collect();
                        keep_what_can_be_kept(&db, &[5, 6]).await?;
                        anyhow::Ok(lengths)
                    }
                });
                ensure!(spawned.await?? == [1, 3]);
                ensure!(there(&db).await? == "1 2 5");
                db.close_connection_pool().await;
                Ok(())
            }
        }
    };
}

on!(on_postgres, Postgres, PgEngine);
on!(on_mariadb, MySql, MySqlEngine);
on!(on_sqlite, Sqlite, SqliteEngine);

/// Is generic over the database, as library code is.
#[transactional(timeout = LIMIT)]
async fn nothing<DB: poolhouse::Backend>(_tx: &mut Transaction<DB>) -> sqlx::Result<()> {
    Ok(())
}

const LIMIT: Duration = Duration::from_mins(1);

#[tokio::test]
async fn it_can_be_generic_over_the_database() -> anyhow::Result<()> {
    let settings = Settings::new()
        .engine("transactional_any")
        .url("sqlite::memory:");
    let db: SqliteEngine = engine_finder_with(&settings)?;
    db.start_connection_pool().await?;
    nothing(&db).await?;
    let mut tx = db.begin().await?;
    nothing(&mut tx).await?;
    tx.commit().await?;
    db.close_connection_pool().await;
    Ok(())
}

/// Returns the values of two settings for row-level security.
#[transactional(local("app.tenant" = tenant, "app.user" = user.to_string()))]
async fn who(tx: &mut Transaction<Postgres>, tenant: String, user: i64) -> sqlx::Result<String> {
    sqlx::query_scalar("SELECT current_setting('app.tenant') || ' ' || current_setting('app.user')")
        .fetch_one(tx)
        .await
}

#[transactional(join = false)]
async fn count_alone(tx: &mut Transaction<Postgres>) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT count(*) FROM entry")
        .fetch_one(tx)
        .await
}

#[transactional(read_only)]
async fn write_where_only_read(tx: &mut Transaction<Postgres>) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO entry VALUES (9)")
        .execute(tx)
        .await
        .map(drop)
}

#[transactional]
async fn count_inside(tx: &mut Transaction<Postgres>, db: &PgEngine) -> sqlx::Result<i64> {
    sqlx::query("INSERT INTO entry VALUES (1)")
        .execute(tx)
        .await?;
    count_alone(db).await
}

#[tokio::test]
async fn arguments_are_those_of_the_options() -> anyhow::Result<()> {
    let Some(database) = CaseDatabase::of::<Postgres>("transactional").await? else {
        return Ok(());
    };
    let settings = Settings::new()
        .engine("transactional_options")
        .url(database.url());
    let db: PgEngine = engine_finder_with(&settings)?;
    db.start_connection_pool().await?;
    sqlx::raw_sql("CREATE TABLE entry (id INTEGER PRIMARY KEY)")
        .execute(&db)
        .await?;
    ensure!(who(&db, "blue".to_owned(), 7).await? == "blue 7");
    let after: Option<String> =
        sqlx::query_scalar("SELECT nullif(current_setting('app.tenant', true), '')")
            .fetch_one(&db)
            .await?;
    ensure!(after.is_none(), "{after:?}");
    ensure!(count_inside(&db, &db).await? == 0);
    ensure!(count_alone(&db).await? == 1);
    let refused = write_where_only_read(&db).await.err().context("it wrote")?;
    let code = refused.as_database_error().and_then(DatabaseError::code);
    ensure!(code.as_deref() == Some("25006"), "{refused}");
    db.close_connection_pool().await;
    Ok(())
}
