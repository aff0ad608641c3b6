//! Closing a pool while a checkout is held.

use std::{
    mem,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use anyhow::{Context, ensure};
use futures_util::{StreamExt, future::join_all};

use super::{SHORT, bounded, case_database};
use crate::{CaseDatabase, Options, Sql, Subject, eventually, steps::up_to};

/// 9: a checkout is held forever. The close returns at its limit, names the holder and terminates its session.
pub async fn held_for_ever<S: Subject>() -> anyhow::Result<()> {
    let case_database = case_database!(S, "held");
    let options = Options::new(case_database.url());
    let pool = S::start(Options {
        close_timeout: SHORT,
        ..options
    })
    .await?;
    let (acquired, line) = (pool.acquire(), line!());
    let mut held = acquired.await?;

    let ended = bounded("the close", pool.close()).await?;
    named::<S>(&ended, &format!("the checkout taken at {}:{line}", file!()))?;
    if S::Db::SERVER.is_some() {
        one_was_ended::<S>(&case_database).await?;
        let used = bounded("using it", S::Db::run(held.as_mut(), "SELECT 1")).await?;
        ensure!(used.is_err(), "it can still be used");
    }
    drop(held);
    case_database.no_session_left().await
}

/// 10: a checkout is leaked. The close does the same, and nothing hangs.
pub async fn leaked<S: Subject>() -> anyhow::Result<()> {
    let case_database = case_database!(S, "leaked");
    let options = Options::new(case_database.url());
    let pool = S::start(Options {
        close_timeout: SHORT,
        ..options
    })
    .await?;
    let (acquired, line) = (pool.acquire(), line!());
    mem::forget(acquired.await?);

    let ended = bounded("the close", pool.close()).await?;
    named::<S>(&ended, &format!("the checkout taken at {}:{line}", file!()))?;
    match S::Db::SERVER {
        Some(_) => one_was_ended::<S>(&case_database).await,
        // A SQLite connection cannot be terminated. It stays open until the process ends.
        None => Ok(()),
    }
}

/// 11: a clone of the pool outlives it, as in a `static`. The close completes, and later use gets an error.
pub async fn outlived_by_a_clone<S: Subject>() -> anyhow::Result<()> {
    let case_database = case_database!(S, "clone");
    let pool = S::start(Options::new(case_database.url())).await?;
    let clone: &'static S = Box::leak(Box::new(pool.clone()));
    clone.execute("SELECT 1").await?;

    let ended = bounded("the close", pool.close()).await?;
    ensure!(ended.is_empty(), "{ended:?}");
    case_database.closed_in_good_order().await?;
    let used = bounded("using it", clone.execute("SELECT 1")).await?;
    let acquired = bounded("acquiring", clone.acquire()).await?.map(drop);
    for refused in [used, acquired] {
        let said = refused.err().context("it can still be used")?.to_string();
        ensure!(said.contains("closed"), "{said}");
    }
    Ok(())
}

/// 12: a statement runs for an hour. The close terminates it on the server.
pub async fn running_statement<S: Subject>() -> anyhow::Result<()> {
    let case_database = case_database!(S, "running");
    let sleep = S::Db::SLEEP.context("nothing runs for long here")?;
    let options = Options::new(case_database.url());
    let pool = S::start(Options {
        close_timeout: SHORT,
        ..options
    })
    .await?;
    let query = tokio::spawn(pool.execute(sleep));
    case_database.one_runs("3600").await?;

    let ended = bounded("the close", pool.close()).await?;
    named::<S>(&ended, &format!("the statement `{sleep}`"))?;
    one_was_ended::<S>(&case_database).await?;
    let result = bounded("the query", query).await??;
    ensure!(result.is_err(), "the query has succeeded");
    Ok(())
}

/// 13: the future of a running query is dropped before the close. The close is bounded and leaves no statement running.
pub async fn dropped_query<S: Subject>() -> anyhow::Result<()> {
    let case_database = case_database!(S, "dropped");
    let options = Options::new(case_database.url());
    let pool = S::start(Options {
        close_timeout: SHORT,
        ..options
    })
    .await?;
    drop_a_running_query(&pool, &case_database).await?;

    bounded("the close", pool.close()).await?;
    case_database.none_is_active().await?;
    one_was_ended::<S>(&case_database).await
}

/// 13, further: the dropped query frees its slot although the server still runs it.
pub async fn dropped_query_frees_its_slot<S: Subject>() -> anyhow::Result<()> {
    let case_database = case_database!(S, "dropped");
    let options = Options::new(case_database.url());
    let pool = S::start(Options {
        max_size: 1,
        ..options
    })
    .await?;
    drop_a_running_query(&pool, &case_database).await?;

    bounded("the next query", pool.execute("SELECT 1")).await??;
    case_database.none_is_active().await?;
    let ended = bounded("the close", pool.close()).await?;
    ensure!(ended.is_empty(), "{ended:?}");
    case_database.sessions_ended(0, 1).await
}

async fn drop_a_running_query<S: Subject>(
    pool: &S,
    case_database: &CaseDatabase,
) -> anyhow::Result<()> {
    let sleep = S::Db::SLEEP.context("nothing runs for long here")?;
    let mut query = pin!(pool.execute(sleep));
    tokio::select! {
        result = &mut query => anyhow::bail!("the query is over: {result:?}"),
        running = case_database.one_runs("3600") => running.map(drop),
    }
}

/// 17: a thousand tasks wait for a checkout. The close wakes them all at once, while the checkout is still held.
pub async fn a_thousand_waiters<S: Subject>() -> anyhow::Result<()> {
    let case_database = case_database!(S, "waiters");
    let options = Options::new(case_database.url());
    let pool = S::start(Options {
        max_size: 1,
        ..options
    })
    .await?;
    let held = pool.acquire().await?;

    let waiting = Arc::new(AtomicUsize::new(0));
    let waiters: Vec<_> = (0..1000)
        .map(|_| {
            let (checkout, waiting) = (pool.acquire(), Arc::clone(&waiting));
            tokio::spawn(async move {
                waiting.fetch_add(1, Relaxed);
                checkout.await.map(drop)
            })
        })
        .collect();
    eventually("all of them wait", async || {
        let waiting = waiting.load(Relaxed);
        ensure!(waiting == 1000, "{waiting} wait");
        Ok(())
    })
    .await?;

    let closing = tokio::spawn({
        let pool = pool.clone();
        async move { pool.close().await }
    });
    for answer in bounded("telling the waiters", join_all(waiters)).await? {
        let said = answer?.err().context("one got a checkout")?.to_string();
        ensure!(said.contains("closed"), "{said}");
    }
    drop(held);
    let ended = bounded("the close", closing).await??;
    ensure!(ended.is_empty(), "{ended:?}");
    case_database.closed_in_good_order().await
}

/// 17, further: waiters take turns at one connection during the close. A task that got the connection keeps it to its end, and
/// then the connection is closed cleanly.
pub async fn waiters_in_turn<S: Subject>() -> anyhow::Result<()> {
    let case_database = case_database!(S, "turns");
    for _ in 0..20 {
        let options = Options::new(case_database.url());
        let pool = S::start(Options {
            max_size: 2,
            ..options
        })
        .await?;
        let served = Arc::new(AtomicUsize::new(0));
        let waiters: Vec<_> = (0..200)
            .map(|_| {
                let (query, served) = (pool.execute("SELECT 1"), Arc::clone(&served));
                tokio::spawn(async move {
                    let result = query.await;
                    served.fetch_add(1, Relaxed);
                    result
                })
            })
            .collect();
        while served.load(Relaxed) < 20 {
            tokio::task::yield_now().await;
        }
        let ended = bounded("the close", pool.close()).await?;
        ensure!(ended.is_empty(), "{ended:?}");
        // No connection may be left to a background task, because a program would end here.
        ensure!(pool.size() == 0, "{} connections are open", pool.size());
        for result in bounded("the waiters", join_all(waiters)).await? {
            if let Err(error) = result? {
                ensure!(error.to_string().contains("closed"), "{error}");
            }
        }
    }
    case_database.closed_in_good_order().await
}

/// 39: the close is cancelled half-way, while a checkout is held. No new checkout is given, waiters get an error, and the
/// remaining connections close by themselves.
pub async fn given_up<S: Subject>() -> anyhow::Result<()> {
    let case_database = case_database!(S, "given_up");
    let pool = S::start(Options {
        max_size: 1,
        ..Options::new(case_database.url())
    })
    .await?;
    let held = pool.acquire().await?;
    let mut waiters: Vec<_> = (0..30).map(|_| Box::pin(pool.acquire())).collect();
    for waiter in &mut waiters {
        ensure!(up_to(1, waiter).await.is_none(), "it did not wait");
    }
    ensure!(up_to(1, pool.close()).await.is_none(), "it did not wait");
    waiters.push(Box::pin(pool.acquire()));
    for answer in bounded("telling the waiters", join_all(waiters)).await? {
        let said = answer.err().context("one got a checkout")?.to_string();
        ensure!(said.contains("closed"), "{said}");
    }
    drop(held);
    case_database.closed_in_good_order().await
}

/// 23: a result is half read when its stream is dropped and the pool closed. The sessions end cleanly.
pub async fn half_read_result<S: Subject>() -> anyhow::Result<()> {
    let case_database = case_database!(S, "half");
    let pool = S::start(Options::new(case_database.url())).await?;
    let mut rows = pool.rows(S::Db::MANY_ROWS);
    rows.next().await.context("no row")??;
    drop(rows);
    let mut checkout = pool.acquire().await?;
    let mut rows = S::Db::read(checkout.as_mut(), S::Db::MANY_ROWS);
    rows.next().await.context("no row")??;
    drop(rows);
    drop(checkout);

    let ended = bounded("the close", pool.close()).await?;
    ensure!(ended.is_empty(), "{ended:?}");
    case_database.closed_in_good_order().await?;
    if let CaseDatabase::Server(database) = &case_database {
        for words in [
            "reset by peer",
            "could not send data",
            "Broken pipe",
            "connection to client lost",
        ] {
            let lines = database
                .server()
                .log()?
                .lines_with(&[words, database.name()])?;
            ensure!(lines.is_empty(), "{lines:?}");
        }
    }
    Ok(())
}

/// Checks that exactly this holder was terminated, where the pool reports holders.
fn named<S: Subject>(ended: &[String], holder: &str) -> anyhow::Result<()> {
    ensure!(ended.len() == 1, "one was out: {ended:?}");
    ensure!(
        !S::OURS || ended[0] == holder,
        "{ended:?} instead of {holder}"
    );
    Ok(())
}

/// Checks that the server terminated one session, and that the others ended cleanly. `sqlx::Pool` does not release all its idle
/// ones, so there more may be terminated.
async fn one_was_ended<S: Subject>(case_database: &CaseDatabase) -> anyhow::Result<()> {
    if S::OURS {
        return case_database.sessions_ended(0, 1).await;
    }
    case_database.no_session_left().await?;
    let database = case_database.database()?;
    let ended = (database.ended_uncleanly().await?, database.killed().await?);
    ensure!(
        ended.0 == 0 && ended.1 >= 1,
        "ended uncleanly and killed: {ended:?}"
    );
    Ok(())
}
