//! Parts of a transaction that are cancelled at each of their polls: what is acknowledged is written, and nothing else.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;

use anyhow::{Context, ensure};
use poolhouse::{Engine, Settings, TransactionError, engine_finder_with};
use poolhouse_tests::{CaseDatabase, Sql};
use sqlx::{Acquire, MySql, Postgres, Sqlite};

/// Polls a future this many times and drops it then; `None` if it had not ended.
async fn polled<T>(times: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut left = times;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match work.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

const A: &str = "INSERT INTO entry VALUES (1)";
const B: &str = "INSERT INTO entry VALUES (2)";
const X: &str = "INSERT INTO entry VALUES (3)";

/// The most polls of one part. Each round trip takes a few.
const MOST: usize = 60;

/// How often each part is played. An answer may come within a poll, so that another step is cancelled in the next round.
const ROUNDS: usize = 5;

/// A step in a transaction that is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// `begin_nested`, without a statement in it.
    BeginNested,
    /// `Acquire::begin` on the transaction.
    AcquireBegin,
    /// A nested transaction with a statement, to its end.
    Nested,
    /// As `Nested`, after another one that was rolled back.
    SecondNested,
    /// As `Nested`, which returns an error at its end.
    NestedThatFails,
    /// As `SecondNested`, inside of another nested transaction, which goes on and ends well.
    Deeper,
}

const STEPS: [Step; 6] = [
    Step::BeginNested,
    Step::AcquireBegin,
    Step::Nested,
    Step::SecondNested,
    Step::NestedThatFails,
    Step::Deeper,
];

/// The end of the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Commit,
    Rollback,
}

macro_rules! on {
    ($module:ident, $database:ty) => {
        mod $module {
            use super::*;

            async fn begin(
                name: &str,
            ) -> anyhow::Result<Option<(CaseDatabase, Engine<$database>)>> {
                let Some(case_database) = CaseDatabase::of::<$database>(name).await? else {
                    return Ok(None);
                };
                let settings = Settings::new()
                    .engine(name)
                    .url(case_database.url())
                    .max_size(1);
                let db: Engine<$database> = engine_finder_with(&settings)?;
                db.start_connection_pool().await?;
                sqlx::raw_sql("CREATE TABLE entry (id INTEGER NOT NULL)")
                    .execute(&db)
                    .await?;
                Ok(Some((case_database, db)))
            }

            pub(super) async fn rows(case_database: &CaseDatabase) -> anyhow::Result<BTreeSet<i64>> {
                let mut rows = BTreeSet::new();
                for id in 1..=3 {
                    let count = format!("SELECT count(*) FROM entry WHERE id = {id}");
                    if case_database.answer::<$database>(&count).await? > 0 {
                        rows.insert(id);
                    }
                }
                Ok(rows)
            }

            async fn run(
                db: &Engine<$database>,
                step: Step,
                polls: usize,
                end: End,
            ) -> anyhow::Result<(bool, Option<BTreeSet<i64>>)> {
                let mut written = BTreeSet::from([1]);
                let mut tx = db.begin().await?;
                if step == Step::SecondNested {
                    let first: Result<(), sqlx::Error> = tx
                        .transaction(async |tx| {
                            sqlx::query(X).execute(tx).await?;
                            Err(sqlx::Error::RowNotFound)
                        })
                        .await;
                    ensure!(first.is_err());
                }
                sqlx::query(A).execute(&mut tx).await?;
                let fails = step == Step::NestedThatFails;
                let is_over = match step {
                    Step::BeginNested => {
                        let begun = polled(polls, tx.begin_nested()).await;
                        let is_over = begun.is_some();
                        if let Some(nested) = begun {
                            nested?.rollback().await?;
                        }
                        is_over
                    }
                    Step::AcquireBegin => {
                        let begun = polled(polls, Acquire::begin(&mut tx)).await;
                        let is_over = begun.is_some();
                        if let Some(nested) = begun {
                            nested?.rollback().await?;
                        }
                        is_over
                    }
                    Step::Deeper => {
                        let nested: sqlx::Result<Option<bool>> = tx
                            .transaction(async |tx| {
                                let first: sqlx::Result<()> = tx
                                    .transaction(async |tx| {
                                        sqlx::query(X).execute(tx).await?;
                                        Err(sqlx::Error::RowNotFound)
                                    })
                                    .await;
                                if first.is_ok() {
                                    return Err(sqlx::Error::WorkerCrashed);
                                }
                                sqlx::query(B).execute(&mut *tx).await?;
                                let second = tx.transaction(async |tx| {
                                    sqlx::query(X).execute(tx).await.map(drop)
                                });
                                let second: Option<sqlx::Result<()>> = polled(polls, second).await;
                                Ok(second.map(|ended| ended.is_ok()))
                            })
                            .await;
                        if let Ok(second) = nested {
                            written.insert(2);
                            if second == Some(true) {
                                written.insert(3);
                            }
                        }
                        matches!(nested, Ok(Some(_)))
                    }
                    Step::Nested | Step::SecondNested | Step::NestedThatFails => {
                        let nested = tx.transaction(async |tx| {
                            sqlx::query(X).execute(tx).await?;
                            if fails {
                                return Err(sqlx::Error::RowNotFound);
                            }
                            Ok(())
                        });
                        let nested: Option<sqlx::Result<()>> = polled(polls, nested).await;
                        if let Some(Ok(())) = nested {
                            written.insert(3);
                        }
                        nested.is_some()
                    }
                };
                if step != Step::Deeper && sqlx::query(B).execute(&mut tx).await.is_ok() {
                    written.insert(2);
                }
                let ended = match end {
                    End::Commit => tx.commit().await,
                    End::Rollback => {
                        tx.rollback().await?;
                        return Ok((is_over, Some(BTreeSet::new())));
                    }
                };
                if let Err(error) = &ended {
                    let found = TransactionError::find(error);
                    ensure!(
                        matches!(found, Some(TransactionError::CancelledInside)),
                        "{error}"
                    );
                }
                Ok((is_over, ended.is_ok().then_some(written)))
            }

            #[tokio::test]
            async fn what_is_acknowledged_is_written_and_nothing_else() -> anyhow::Result<()> {
                let name = concat!("cancelled_", stringify!($module));
                let Some((case_database, db)) = begin(name).await? else {
                    return Ok(());
                };
                for step in [STEPS; ROUNDS].into_iter().flatten() {
                    for end in [End::Commit, End::Rollback] {
                        for polls in 1.. {
                            ensure!(polls < MOST, "{step:?} does not end");
                            let (is_over, written) = run(&db, step, polls, end)
                                .await
                                .with_context(|| format!("{step:?}, {end:?} after {polls}"))?;
                            if end == End::Rollback
                                && let Ok(database) = case_database.database()
                            {
                                let inside = database.idle_in_transaction().await?;
                                ensure!(inside == 0, "{step:?} after {polls} polls: it is still inside");
                            }
                            let found = rows(&case_database).await?;
                            ensure!(
                                found == written.clone().unwrap_or_default(),
                                "{step:?}, {end:?} after {polls} polls: {found:?} is written, and {written:?} acknowledged"
                            );
                            ensure!(
                                !is_over || written.is_some(),
                                "{step:?}, {end:?} after {polls} polls: it ended, and the commit did not"
                            );
                            case_database.run::<$database>("DELETE FROM entry").await?;
                            if is_over {
                                break;
                            }
                        }
                    }
                }
                db.close_connection_pool().await;
                Ok(())
            }

            /// The pool does not see the statements there. The server would commit each of them.
            #[tokio::test]
            async fn the_drivers_connection_of_what_is_over_cannot_be_borrowed() -> anyhow::Result<()> {
                type Connection = <$database as sqlx::Database>::Connection;

                let name = concat!("cancelled_borrowed_", stringify!($module));
                let Some((case_database, db)) = begin(name).await? else {
                    return Ok(());
                };
                for step in [Step::BeginNested, Step::Nested] {
                    let mut tx = loop {
                        let mut tx = db.begin().await?;
                        sqlx::query(A).execute(&mut tx).await?;
                        let is_over = match step {
                            Step::BeginNested => {
                                polled(1, tx.begin_nested()).await.map(drop).is_some()
                            }
                            _ => {
                                let nested = tx.transaction::<(), sqlx::Error, _>(async |_| Ok(()));
                                polled(1, nested).await.is_some()
                            }
                        };
                        // Else it was answered at once.
                        if !is_over {
                            break tx;
                        }
                    };
                    let borrowed = catch_unwind(AssertUnwindSafe(|| {
                        let _: &mut Connection = &mut tx;
                    }));
                    if borrowed.is_ok() {
                        <$database>::run(&mut tx, X).await?;
                    }
                    drop(tx);
                    let found = rows(&case_database).await?;
                    ensure!(found.is_empty(), "{step:?}: {found:?} is written");
                    ensure!(borrowed.is_err(), "{step:?}: it is borrowed");
                }
                db.close_connection_pool().await;
                Ok(())
            }

            /// The driver of SQLite remembers a commit whose caller went away.
            #[tokio::test]
            async fn a_cancelled_end_changes_nothing_for_the_next_one() -> anyhow::Result<()> {
                let name = concat!("cancelled_end_", stringify!($module));
                let Some((case_database, db)) = begin(name).await? else {
                    return Ok(());
                };
                for end in [[End::Commit, End::Rollback]; ROUNDS].into_iter().flatten() {
                    for polls in 1.. {
                        ensure!(polls < MOST, "{end:?} does not end");
                        let mut tx = db.begin().await?;
                        sqlx::query("DELETE FROM entry").execute(&mut tx).await?;
                        let ended = match end {
                            End::Commit => polled(polls, tx.commit()).await,
                            End::Rollback => polled(polls, tx.rollback()).await,
                        };
                        let is_over = ended.is_some();
                        case_database.run::<$database>("DELETE FROM entry").await?;
                        let mut tx = db.begin().await?;
                        sqlx::query(A).execute(&mut tx).await?;
                        let has_run = AtomicBool::new(false);
                        let nested = tx.transaction::<(), sqlx::Error, _>(async |tx| {
                            sqlx::query(X).execute(tx).await?;
                            has_run.store(true, Relaxed);
                            std::future::pending().await
                        });
                        {
                            let mut nested = pin!(nested);
                            poll_fn(|context| {
                                let _ = nested.as_mut().poll(context);
                                if has_run.load(Relaxed) {
                                    return Poll::Ready(());
                                }
                                Poll::Pending
                            })
                            .await;
                        }
                        sqlx::query(B).execute(&mut tx).await?;
                        tx.commit().await?;
                        let found = rows(&case_database).await?;
                        ensure!(
                            found == BTreeSet::from([1, 2]),
                            "after a {end:?} cancelled after {polls} polls: {found:?}"
                        );
                        case_database.run::<$database>("DELETE FROM entry").await?;
                        if is_over {
                            break;
                        }
                    }
                }
                db.close_connection_pool().await;
                Ok(())
            }
        }
    };
}

on!(postgres, Postgres);
on!(mysql, MySql);
on!(sqlite, Sqlite);

/// A statement of SQLite may end the transaction when its caller has gone away, and so may be the one who asks.
#[tokio::test]
async fn an_end_that_nobody_has_seen_is_found() -> anyhow::Result<()> {
    let name = "unseen_end";
    let Some(case_database) = CaseDatabase::of::<Sqlite>(name).await? else {
        return Ok(());
    };
    let settings = Settings::new()
        .engine(name)
        .url(case_database.url())
        .max_size(1);
    let db: Engine<Sqlite> = engine_finder_with(&settings)?;
    db.start_connection_pool().await?;
    sqlx::raw_sql(
        "CREATE TABLE entry (id INTEGER NOT NULL);
         CREATE TABLE once (id INTEGER UNIQUE ON CONFLICT ROLLBACK);
         INSERT INTO once VALUES (1)",
    )
    .execute(&db)
    .await?;
    for end_is_seen in [true, false] {
        for polls in (1..MOST).flat_map(|polls| [polls; ROUNDS]) {
            let mut tx = db.begin().await?;
            sqlx::query(A).execute(&mut tx).await?;
            let end = sqlx::query("INSERT INTO once VALUES (1)").execute(&mut tx);
            if end_is_seen {
                ensure!(end.await.is_err());
                drop(polled(polls, sqlx::query(B).execute(&mut tx)).await);
            } else {
                drop(polled(polls, end).await);
            }
            // It begins a transaction of its own outside of one.
            let _ = sqlx::raw_sql("SAVEPOINT mine").execute(&mut tx).await;
            let _ = sqlx::query(X).execute(&mut tx).await;
            let committed = tx.commit().await;
            let found = sqlite::rows(&case_database).await?;
            // Without an end before, it was dropped before the statement was sent.
            let written = match &committed {
                Ok(()) if !end_is_seen => BTreeSet::from([1, 3]),
                _ => BTreeSet::new(),
            };
            ensure!(
                found == written && (committed.is_err() || !end_is_seen),
                "after {polls} polls: {committed:?}, {found:?} is written"
            );
        }
    }
    db.close_connection_pool().await;
    Ok(())
}
