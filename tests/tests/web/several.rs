//! Requests without a framework: the commits of two engines, a conflict, a transaction beside that of the request,
//! and one inside it that still exists.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use anyhow::{Context, ensure};
use poolhouse::web::{Answer, RequestTransactions};
use poolhouse::{Error, PgEngine, Settings, SqliteEngine, TransactionError, engine_finder_with};
use poolhouse_tests::{CaseDatabase, eventually};
use sqlx::{Connection, Postgres, Sqlite, SqliteConnection};

use crate::act::{key, run};
use crate::heard;

const TABLES: &str = "CREATE TABLE entry (id INTEGER PRIMARY KEY);
    CREATE TABLE parent (id INTEGER PRIMARY KEY);
    CREATE TABLE child (entry INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);";

/// An engine with its own database.
pub(crate) async fn engine(name: &str) -> anyhow::Result<Option<(CaseDatabase, SqliteEngine)>> {
    heard::listen();
    let Some(case_database) = CaseDatabase::of::<Sqlite>("web").await? else {
        return Ok(None);
    };
    case_database.run::<Sqlite>(TABLES).await?;
    let settings = Settings::new().url(case_database.url()).engine(name);
    let db: SqliteEngine = engine_finder_with(&settings.max_size(4))?;
    db.start_connection_pool().await?;
    Ok(Some((case_database, db)))
}

fn insert(key: i32) -> String {
    format!("INSERT INTO entry VALUES ({key})")
}

async fn count(db: &SqliteEngine, key: i32) -> sqlx::Result<i64> {
    let counted = sqlx::query_scalar("SELECT count(*) FROM entry WHERE id = ?");
    counted.bind(key).fetch_one(db).await
}

fn partly_committed(error: &sqlx::Error) -> anyhow::Result<()> {
    let partly = TransactionError::find(error);
    let Some(TransactionError::PartlyCommitted {
        engine, committed, ..
    }) = partly
    else {
        anyhow::bail!("{error:?}");
    };
    ensure!(engine == "hooks_2" && *committed == ["hooks_1"], "{error}");
    Ok(())
}

/// Polls a future this many times at most, and then drops it.
async fn polled<T>(future: impl Future<Output = T>, most: usize) -> Option<T> {
    let mut future = pin!(future);
    let mut left = most;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => {
            left -= 1;
            if left == 0 {
                Poll::Ready(None)
            } else {
                Poll::Pending
            }
        }
    })
    .await
}

#[tokio::test]
async fn hooks_run_after_the_last_commit_and_after_one_that_fails() -> anyhow::Result<()> {
    let (Some((_first, first)), Some((_second, second))) =
        (engine("hooks_1").await?, engine("hooks_2").await?)
    else {
        return Ok(());
    };
    for (fails, expected) in [(false, 1), (true, 0)] {
        let key = key();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let transactions = RequestTransactions::new();
        let work = async {
            let mut of_first = transactions.of(&first, "POST /hooks")?;
            let mut of_second = transactions.of(&second, "POST /hooks")?;
            let mut guard = of_first.begin().await?;
            run(&mut *guard, insert(key)).await?;
            let (db, seen) = (second.clone(), Arc::clone(&seen));
            guard.on_commit(async move {
                let rows = count(&db, key).await.ok();
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.push(rows);
            });
            drop(guard);
            run(&mut of_second, insert(key)).await?;
            if fails {
                run(&mut of_second, format!("INSERT INTO child VALUES ({key})")).await?;
            }
            Ok::<(), sqlx::Error>(())
        };
        let ended = transactions.serve(work, Result::is_ok).await;
        match ended {
            Err(Error::Database(error)) if fails => partly_committed(&error)?,
            ended => ensure!(!fails && ended.is_ok(), "{ended:?}"),
        }
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ensure!(seen == [Some(expected)], "{seen:?}, fails: {fails}");
        ensure!(count(&first, key).await? == 1, "the first is committed");
    }
    first.close_connection_pool().await;
    second.close_connection_pool().await;
    Ok(())
}

#[tokio::test]
async fn a_request_that_is_dropped_between_two_commits_is_logged_and_its_hooks_run()
-> anyhow::Result<()> {
    let (Some((_first, first)), Some((_second, second))) =
        (engine("dropped_1").await?, engine("dropped_2").await?)
    else {
        return Ok(());
    };
    let ran = Arc::new(AtomicUsize::new(0));
    let served_after = async |polls| -> anyhow::Result<bool> {
        let key = key();
        let transactions = RequestTransactions::new();
        let work = async {
            let mut of_first = transactions.of(&first, "POST /dropped")?;
            let mut of_second = transactions.of(&second, "POST /dropped")?;
            let mut guard = of_first.begin().await?;
            run(&mut *guard, insert(key)).await?;
            let ran = Arc::clone(&ran);
            guard.on_commit(async move {
                ran.fetch_add(1, Relaxed);
            });
            drop(guard);
            run(&mut of_second, insert(key)).await
        };
        let served = polled(transactions.serve(work, Result::is_ok), polls).await;
        let is_served = served.is_some();
        if let Some(served) = served {
            served??;
        }
        Ok(is_served)
    };
    let logged = || heard::lines(&["dropped during the commit", "dropped_2", "dropped_1"]).len();
    // A request takes more or fewer polls each time, so that one pass over their numbers may miss the moment.
    for _ in 0..100 {
        let mut polls = 1;
        while !served_after(polls).await? {
            polls += 1;
        }
        if logged() > 0 {
            break;
        }
    }
    let dropped = logged();
    ensure!(dropped > 0, "nothing is logged");
    // One for each dropped request, and one for each request that was not dropped.
    eventually("the hooks ran", async || {
        let ran = ran.load(Relaxed);
        ensure!(ran > dropped, "{ran} hooks for {dropped} lines");
        Ok(())
    })
    .await?;
    first.close_connection_pool().await;
    second.close_connection_pool().await;
    Ok(())
}

#[tokio::test]
async fn a_write_that_sqlite_refuses_after_a_read_is_a_conflict() -> anyhow::Result<()> {
    let Some((case_database, db)) = engine("refused").await? else {
        return Ok(());
    };
    let mut other = SqliteConnection::connect(&case_database.url()).await?;
    let transactions = RequestTransactions::new();
    let work = async {
        let mut tx = transactions.of(&db, "POST /refused")?;
        run(&mut tx, "SELECT id FROM entry".to_owned()).await?;
        run(&mut other, "BEGIN IMMEDIATE".to_owned()).await?;
        run(&mut tx, insert(key())).await?;
        Ok::<(), Error>(())
    };
    let served = transactions.serve(work, Result::is_ok).await?;
    let answer = Answer::to(&served.err().context("the write is not refused")?);
    let after = Some(Duration::from_secs(1));
    ensure!(answer.status == 503, "{answer:?}");
    ensure!(answer.retry_after == after, "{answer:?}");
    other.close().await?;
    db.close_connection_pool().await;
    Ok(())
}

/// The conflict was rolled back to a savepoint, so that a second request would fail in the same way.
#[tokio::test]
async fn a_commit_that_fails_after_a_handled_conflict_is_no_conflict() -> anyhow::Result<()> {
    heard::listen();
    let Some(case_database) = CaseDatabase::of::<Postgres>("web").await? else {
        return Ok(());
    };
    case_database.run::<Postgres>(TABLES).await?;
    let settings = Settings::new().url(case_database.url()).engine("handled");
    let db: PgEngine = engine_finder_with(&settings)?;
    db.start_connection_pool().await?;
    let conflict = "DO $$ BEGIN RAISE EXCEPTION 'a deadlock' USING ERRCODE = '40P01'; END $$";
    for (handled, status) in [(true, 500), (false, 503)] {
        let key = key();
        let transactions = RequestTransactions::new();
        let work = async {
            let mut tx = transactions.of(&db, "POST /handled")?;
            run(&mut tx, insert(key)).await?;
            if handled {
                run(&mut tx, format!("INSERT INTO child VALUES ({key})")).await?;
                let nested = db
                    .scoped_transaction(async move |tx| run(tx, conflict.to_owned()).await)
                    .await;
                ensure!(nested.is_err(), "there is no conflict");
            } else {
                ensure!(run(&mut tx, conflict.to_owned()).await.is_err());
            }
            Ok(())
        };
        let served: Result<anyhow::Result<()>, Error> =
            transactions.serve(work, Result::is_ok).await;
        let error = served.err().context("it is committed")?;
        let answer = Answer::to(&error);
        ensure!(answer.status == status, "{error}: {answer:?}");
    }
    db.close_connection_pool().await;
    Ok(())
}

#[tokio::test]
async fn a_transaction_beside_that_of_the_request_is_a_warning() -> anyhow::Result<()> {
    let Some((_case_database, db)) = engine("beside_request").await? else {
        return Ok(());
    };
    let warnings = || heard::lines(&["on a second connection", "beside_request"]).len();
    let reads = async || {
        db.transaction(async |tx| run(tx, "SELECT id FROM entry".to_owned()).await)
            .await
    };
    let transactions = RequestTransactions::new();
    let work = async {
        let mut tx = transactions.of(&db, "POST /beside")?;
        // The transaction of the request has not begun, and has no connection.
        reads().await?;
        ensure!(warnings() == 0);
        run(&mut tx, insert(key())).await?;
        reads().await?;
        ensure!(warnings() == 1);
        Ok(())
    };
    let served: anyhow::Result<()> = transactions.serve(work, Result::is_ok).await?;
    served?;
    reads().await?;
    ensure!(warnings() == 1, "after the request");
    db.close_connection_pool().await;
    Ok(())
}

#[tokio::test]
async fn a_scoped_transaction_that_still_exists_keeps_every_engine_from_a_commit()
-> anyhow::Result<()> {
    let (Some((_first, first)), Some((_second, second))) =
        (engine("kept_1").await?, engine("kept_2").await?)
    else {
        return Ok(());
    };
    for commits in [true, false] {
        let key = key();
        let transactions = RequestTransactions::new();
        let work = async {
            let mut of_first = transactions.of(&first, "POST /kept")?;
            run(&mut of_first, insert(key)).await?;
            let of_second = transactions.of(&second, "POST /kept")?;
            let (has_run, mut ran) = tokio::sync::mpsc::channel(1);
            let mut scoped = Box::pin(second.scoped_transaction(async move |tx| {
                run(tx, insert(key)).await?;
                let _ = has_run.send(()).await;
                std::future::pending::<sqlx::Result<()>>().await
            }));
            tokio::select! {
                ended = &mut scoped => ended?,
                _ = ran.recv() => {}
            }
            drop(of_second);
            Ok::<_, sqlx::Error>(scoped)
        };
        let ended = transactions.serve(work, |_| commits).await.map(drop);
        let error = ended.err().context("it is committed")?;
        ensure!(error.to_string().contains("is still held"), "{error}");
        ensure!(error.to_string().contains("kept_2"), "{error}");
        ensure!(count(&first, key).await? == 0, "the first is committed");
        ensure!(count(&second, key).await? == 0, "the second is committed");
    }
    first.close_connection_pool().await;
    second.close_connection_pool().await;
    Ok(())
}
