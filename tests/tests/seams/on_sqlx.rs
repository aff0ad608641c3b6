//! Engines on a `sqlx::Pool`: starts while the server is not ready, callers who go away, code outside any runtime. And listeners,
//! which have a pool of sqlx too.

use std::{
    future::pending,
    pin::pin,
    task::{Context, Waker},
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use futures_util::{
    FutureExt,
    future::{join_all, try_join3},
};
use poolhouse::{Engine, PgEngine, with_pool};
use poolhouse_tests::{
    CaseDatabase, Sql, eventually, faults::start::allow, steps::outside_any_runtime,
};
use sqlx::{Acquire, Postgres};
use tokio::{runtime::Handle, sync::oneshot, time::timeout};

use super::{bounded, settings, started, through_proxy};
use crate::table::case_databases;

case_databases! {
    case_36_a_start_on_a_sqlx_pool_is_cancelled: cancelled, on (postgres, mariadb);
    a_start_that_is_refused_can_be_cancelled: refused, on (postgres, mariadb);
    a_start_waits_for_the_server: waits, on (postgres, mariadb);
    a_start_waits_for_room: room, on (postgres, mariadb);
    a_caller_that_waits_holds_up_nobody: waits_long, on (postgres, mariadb);
    a_session_statement_that_fails_ends_the_start: wrong_session, on (postgres, mariadb);
    a_start_opens_the_smallest_size: smallest_size, on (postgres, mariadb);
    case_16_acquire_is_cancelled_while_it_is_checked_or_opened: go_away, on (postgres, mariadb);
    callers_who_have_gone_away_do_not_queue: do_not_queue, on (postgres, mariadb);
    a_health_check_is_cancelled: health, on (postgres, mariadb);
    a_checkout_outside_any_runtime: outside, on (postgres, mariadb, sqlite);
}

/// Sends its pool's engine to the caller, and runs until it is dropped.
#[with_pool(
    engine = "on_sqlx",
    url = url,
    min_size = min_size,
    max_size = 3,
    acquire_timeout = limit,
    start_timeout = "1h",
    session = session
)]
async fn on_sqlx<DB: Sql>(
    url: &str,
    session: &str,
    limit: &str,
    min_size: u32,
    ready: oneshot::Sender<(Engine<DB>, sqlx::Pool<DB>)>,
    #[pool] pool: sqlx::Pool<DB>,
    #[pool] engine: Engine<DB>,
) -> Result<(), poolhouse::Error> {
    let _ = (url, session, limit, min_size);
    let _ = ready.send((engine, pool));
    pending().await
}

/// Runs `with` beside a function with a pool, and drops the function after it.
async fn beside<DB: Sql, T>(
    url: &str,
    limit: &str,
    min_size: u32,
    with: impl AsyncFnOnce(Engine<DB>, sqlx::Pool<DB>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let (ready, is_ready) = oneshot::channel();
    let run = on_sqlx::<DB>(url, "SELECT 1", limit, min_size, ready);
    let with = async {
        let (engine, pool) = is_ready.await.context("it has not started")?;
        with(engine, pool).await
    };
    tokio::select! {
        ended = run => anyhow::bail!("it is over: {ended:?}"),
        result = with => result,
    }
}

async fn all_closed(case_database: &CaseDatabase) -> anyhow::Result<()> {
    bounded("the rest", poolhouse::wait_closed()).await?;
    case_database.closed_in_good_order().await
}

async fn idle_become<DB: Sql>(pool: &sqlx::Pool<DB>, wanted: usize) -> anyhow::Result<()> {
    let what = format!("{wanted} idle");
    eventually(&what, async || {
        ensure!(pool.num_idle() == wanted, "{}", pool.num_idle());
        Ok(())
    })
    .await
}

async fn cancelled<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let (proxy, url) = through_proxy(&case_database)?;
    proxy.delay(Duration::from_millis(50));
    for sessions in 1..=3 {
        let (ready, _is_ready) = oneshot::channel();
        let mut run = Box::pin(on_sqlx::<DB>(&url, "SELECT 1", "30s", 3, ready));
        let opened = case_database
            .database()?
            .sessions_become("some are open", |open| open.len() >= sessions);
        tokio::select! {
            result = &mut run => anyhow::bail!("it is over: {result:?}"),
            opened = opened => drop(opened?),
        }
        drop(run);
        all_closed(&case_database).await?;
    }
    Ok(())
}

async fn refused<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let (proxy, url) = through_proxy(&case_database)?;
    proxy.refuse();
    let (ready, _is_ready) = oneshot::channel();
    let run = on_sqlx::<DB>(&url, "SELECT 1", "1h", 1, ready);
    ensure!(timeout(Duration::from_millis(200), run).await.is_err());
    all_closed(&case_database).await
}

async fn waits<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let (proxy, url) = through_proxy(&case_database)?;
    proxy.refuse();
    let later = async {
        // Longer than `acquire_timeout`.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        proxy.pass();
        Ok(())
    };
    let starts = beside::<DB, _>(&url, "1s", 1, async |_, _| Ok(()));
    bounded("the start", futures_util::future::try_join(starts, later)).await??;
    all_closed(&case_database).await
}

/// The server has room for fewer sessions than the smallest size.
async fn room<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let database = case_database.database()?;
    allow(database, 2).await?;
    let later = async {
        // Longer than `acquire_timeout`.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        allow(database, 10).await
    };
    let url = case_database.url();
    let starts = beside::<DB, _>(&url, "1s", 3, async |_, _| Ok(()));
    bounded("the start", futures_util::future::try_join(starts, later)).await??;
    all_closed(&case_database).await
}

/// The server goes away. Neither `wait_closed` nor the close waits for a caller who waits for a connection.
async fn waits_long<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let (proxy, url) = through_proxy(&case_database)?;
    let waiting = beside::<DB, _>(&url, "1h", 1, async |engine, pool| {
        idle_become(&pool, 1).await?;
        proxy.reset();
        proxy.refuse();
        let waiting = tokio::spawn(async move { engine.acquire().await.map(drop) });
        idle_become(&pool, 0).await?;
        bounded("the rest", poolhouse::wait_closed()).await?;
        ensure!(!waiting.is_finished(), "it did not wait");
        Ok(waiting)
    })
    .await?;
    let said = bounded("the caller", waiting).await??.err();
    let said = said.context("it has a connection")?.to_string();
    ensure!(said.contains("closed"), "{said}");
    bounded("the rest", poolhouse::wait_closed()).await?;
    case_database.no_session_left().await
}

async fn wrong_session<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let (ready, _is_ready) = oneshot::channel();
    let url = case_database.url();
    let run = on_sqlx::<DB>(&url, "SELEC 1", "1s", 1, ready);
    let failed = bounded("the start", run).await?.err();
    let failed = anyhow::Error::new(failed.context("it has started")?);
    let said = format!("{failed:#}");
    ensure!(said.contains("syntax"), "{said}");
    all_closed(&case_database).await
}

async fn smallest_size<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    beside::<DB, _>(&case_database.url(), "30s", 3, async |_, pool| {
        ensure!(pool.size() == 3, "{}", pool.size());
        Ok(())
    })
    .await?;
    all_closed(&case_database).await
}

async fn go_away<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let (proxy, url) = through_proxy(&case_database)?;
    beside::<DB, _>(&url, "30s", 1, async |engine, pool| {
        proxy.delay(Duration::from_millis(10));
        let mut gone = 0;
        for limit in [0, 5, 15, 25, 40, 60, 80] {
            for is_opened in [false, true] {
                if is_opened {
                    engine.evict();
                }
                let acquired = timeout(Duration::from_millis(limit), engine.acquire()).await;
                gone += u8::from(acquired.is_err());
            }
        }
        ensure!(gone > 6, "only {gone} have gone away");
        proxy.delay(Duration::ZERO);
        // Nobody is in the way of those that stay.
        let _held = (engine.acquire().await?, pool.acquire().await?);
        Ok(())
    })
    .await?;
    all_closed(&case_database).await
}

async fn do_not_queue<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    beside::<DB, _>(&case_database.url(), "30s", 1, async |engine, _| {
        let _held = (
            engine.acquire().await?,
            engine.acquire().await?,
            engine.acquire().await?,
        );
        let tasks = || Handle::current().metrics().num_alive_tasks();
        let before = tasks();
        let gone = (0..100).map(|_| timeout(Duration::from_millis(50), engine.acquire()));
        ensure!(join_all(gone).await.iter().all(Result::is_err));
        let more = tasks().saturating_sub(before);
        ensure!(more <= 3, "{more} tasks wait for nobody");
        Ok(())
    })
    .await?;
    all_closed(&case_database).await
}

async fn health<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let (proxy, url) = through_proxy(&case_database)?;
    beside::<DB, _>(&url, "30s", 1, async |engine, pool| {
        idle_become(&pool, 1).await?;
        proxy.delay(Duration::from_millis(50));
        let checked = timeout(Duration::from_millis(20), engine.health()).await;
        ensure!(checked.is_err(), "{checked:?}");
        Ok(())
    })
    .await?;
    all_closed(&case_database).await
}

async fn outside<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    beside::<DB, _>(&case_database.url(), "30s", 1, async |engine, pool| {
        let outside = thread::spawn(move || -> anyhow::Result<()> {
            for _ in 0..5 {
                drop(outside_any_runtime(engine.acquire())?);
                drop(outside_any_runtime(engine.try_acquire()));
                // One who goes away with the answer in the channel.
                let mut acquire = pin!(engine.acquire());
                let _ = acquire
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()));
                thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        });
        let joined = tokio::task::spawn_blocking(move || outside.join()).await?;
        joined.ok().context("it has panicked")??;
        drop(bounded("the next", pool.acquire()).await??);
        Ok(())
    })
    .await?;
    all_closed(&case_database).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_opening_of_a_listener_is_cancelled() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<Postgres>("listens").await? else {
        return Ok(());
    };
    let (proxy, url) = through_proxy(&case_database)?;
    let engine: PgEngine = started::<Postgres>(&settings("listens", &url)).await?;
    proxy.delay(Duration::from_millis(10));
    let mut gone = 0;
    for limit in [0, 5, 15, 25, 40, 60, 80] {
        let opened = timeout(Duration::from_millis(limit), engine.listener()).await;
        gone += u8::from(opened.is_err());
    }
    ensure!(gone > 3, "only {gone} have gone away");
    engine.close_connection_pool().await;
    all_closed(&case_database).await
}

/// The driver does not count a transaction whose begin was cancelled before its answer.
#[tokio::test]
async fn a_cancelled_begin_on_a_checkout_is_not_handed_on() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<Postgres>("begin_on_sqlx").await? else {
        return Ok(());
    };
    let url = case_database.url();
    beside::<Postgres, _>(&url, "30s", 1, async |engine, _| {
        let mut checkout = engine.acquire().await?;
        while let Some(begun) = Acquire::begin(&mut checkout).now_or_never() {
            // It was answered at once. Its rollback is sent before the next `BEGIN`.
            drop(begun?);
        }
        drop(checkout);
        let all = try_join3(engine.acquire(), engine.acquire(), engine.acquire()).await?;
        let open = case_database.database()?.idle_in_transaction().await?;
        ensure!(open == 0, "{open} are in a transaction");
        drop(all);
        Ok(())
    })
    .await?;
    all_closed(&case_database).await
}
