//! One limit for a whole close.

use std::{mem, time::Duration};

use anyhow::{Context, ensure};
use poolhouse::{AcquireError, AcquireKind, Engine, Left, Settings, engine_finder_with, with_pool};
use poolhouse_tests::{CaseDatabase, Sql, Subject, eventually, steps::up_to, subject::Own};
use tokio::time::Instant;

use super::{Waiters, bounded, settings, started, through_proxy};
use crate::table::case_databases;

case_databases! {
    case_37_the_nodes_of_an_engine_are_closed_beside_it: with_nodes, on (postgres, mariadb);
    case_37_waiters_of_an_engine_and_its_nodes_are_refused_at_once: waiters_of_nodes, on (postgres, mariadb, sqlite);
    case_38_the_engines_of_a_function_are_closed_side_by_side: of_one_function, on (postgres, mariadb);
    case_38_sqlx_pools_of_a_function_are_closed_side_by_side: of_one_function_on_sqlx, on (postgres, mariadb);
    case_38_waiters_of_all_engines_are_refused_at_once: waiters_of_a_function, on (postgres, mariadb, sqlite);
    case_39_a_close_that_is_given_up_refuses_and_goes_on: given_up, on (postgres, mariadb, sqlite);
    case_39_a_second_close_joins_the_first: joined, on (postgres, mariadb, sqlite);
    case_39_a_start_after_a_close_that_was_given_up_waits_for_it: started_again, on (postgres, mariadb);
    case_40_a_close_cancels_a_start_that_retries: while_starting, on (postgres, mariadb);
    case_40_a_close_cancels_a_start_that_waits_for_an_answer: while_silent, on (postgres, mariadb);
    case_40_a_close_cancels_a_start_that_migrates: while_migrating, on (postgres, mariadb);
    a_close_outside_any_runtime_ends: outside, on (postgres, mariadb, sqlite);
}

/// The `close_timeout` of these cases. Leaked checkouts make each close last as long.
const CLOSE: Duration = Duration::from_secs(2);

/// Fails unless a close took one limit, and less than two in a row. The difference is for a busy machine.
fn is_one_limit(begun: Instant) -> anyhow::Result<()> {
    let took = begun.elapsed();
    ensure!(took >= CLOSE, "it did not wait: {took:?}");
    ensure!(took < CLOSE * 2, "more than one limit: {took:?}");
    Ok(())
}

/// Settings of an engine with a node on the same server, with one connection each.
fn with_node(name: &str, case_database: &CaseDatabase) -> Settings {
    let node = Settings::new().url(case_database.url());
    settings(name, case_database.url())
        .max_size(1)
        .close_timeout(CLOSE)
        .node("replica1", node)
}

async fn with_nodes<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let engine: Engine<DB> = started(&with_node("with_nodes", &case_database)).await?;
    mem::forget(engine.acquire().await?);
    mem::forget(engine.node("replica1")?.acquire().await?);
    let begun = Instant::now();
    let report = engine.close_connection_pool().await;
    is_one_limit(begun)?;
    ensure!(report.ended.len() == 1, "{report}");
    case_database.sessions_ended(0, 2).await
}

async fn waiters_of_nodes<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let engine: Engine<DB> =
        started(&with_node("waiters", &case_database).close_timeout("1h")).await?;
    let node = engine.node("replica1")?;
    let held = (engine.acquire().await?, node.acquire().await?);
    let waiters = (
        Waiters::of(&engine, 10).await?,
        Waiters::of(&node, 10).await?,
    );
    let close = tokio::spawn({
        let engine = engine.clone();
        async move { engine.close_connection_pool().await }
    });
    // While both connections are still in use.
    waiters.0.are_refused().await?;
    waiters.1.are_refused().await?;
    for engine in [&engine, &node] {
        is_refused(engine).await?;
    }
    drop(held);
    let report = bounded("the close", close).await??;
    ensure!(report.is_clean(), "{report}");
    case_database.closed_in_good_order().await
}

/// Fails unless the engine refuses uses because it is closed.
async fn is_refused<DB: Sql>(engine: &Engine<DB>) -> anyhow::Result<()> {
    let refused = bounded("a refusal", engine.acquire()).await?;
    let error = refused.err().context("it can be used")?;
    let kind = AcquireError::find(&error).map(AcquireError::kind);
    ensure!(kind == Some(AcquireKind::Closed), "{error}");
    let query = bounded("a query", Own(engine.clone()).execute("SELECT 1")).await?;
    ensure!(query.is_err(), "it can be queried");
    Ok(())
}

#[with_pool(engine = "first", url = url, close_timeout = CLOSE)]
async fn three<DB: Sql>(
    url: &str,
    #[pool] first: Engine<DB>,
    #[pool(engine = "second", url = url, close_timeout = CLOSE)] second: Engine<DB>,
    #[pool(engine = "third", url = url, close_timeout = CLOSE)] third: Engine<DB>,
) -> anyhow::Result<Instant> {
    let _ = url;
    for engine in [first, second, third] {
        mem::forget(engine.acquire().await?);
    }
    Ok(Instant::now())
}

async fn of_one_function<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let begun = three::<DB>(&case_database.url()).await?;
    is_one_limit(begun)?;
    case_database.sessions_ended(0, 3).await
}

#[with_pool(engine = "first", url = url, close_timeout = CLOSE)]
async fn three_on_sqlx<DB: Sql>(
    url: &str,
    #[pool] first: sqlx::Pool<DB>,
    #[pool(engine = "second", url = url, close_timeout = CLOSE)] second: sqlx::Pool<DB>,
    #[pool(engine = "third", url = url, close_timeout = CLOSE)] third: sqlx::Pool<DB>,
) -> anyhow::Result<Instant> {
    let _ = url;
    for pool in [first, second, third] {
        mem::forget(pool.acquire().await?);
    }
    Ok(Instant::now())
}

async fn of_one_function_on_sqlx<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let begun = three_on_sqlx::<DB>(&case_database.url()).await?;
    is_one_limit(begun)?;
    case_database.no_session_left().await?;
    let database = case_database.database()?;
    let ended = (database.ended_uncleanly().await?, database.killed().await?);
    // sqlx's pool does not tell which of its sessions have ended, so more than the three may be killed.
    ensure!(ended.0 == 0 && ended.1 >= 3, "{ended:?}");
    Ok(())
}

#[with_pool(engine = "first", url = url, max_size = 1, close_timeout = "1h")]
async fn two<DB: Sql>(
    url: &str,
    body: impl AsyncFnOnce(Engine<DB>, Engine<DB>) -> anyhow::Result<()>,
    #[pool] first: Engine<DB>,
    #[pool(engine = "second", url = url, max_size = 1, close_timeout = "1h")] second: Engine<DB>,
) -> anyhow::Result<()> {
    let _ = url;
    body(first, second).await
}

async fn waiters_of_a_function<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let (send, receive) = tokio::sync::oneshot::channel();
    let url = case_database.url();
    let run = two(&url, async |first: Engine<DB>, second: Engine<DB>| {
        let held = (first.acquire().await?, second.acquire().await?);
        let waiters = (
            Waiters::of(&first, 10).await?,
            Waiters::of(&second, 10).await?,
        );
        let _ = send.send((held, waiters));
        Ok(())
    });
    let refused = async {
        let (held, waiters) = receive.await?;
        waiters.0.are_refused().await?;
        waiters.1.are_refused().await?;
        drop(held);
        Ok(())
    };
    bounded("the run", futures_util::future::try_join(run, refused)).await??;
    case_database.closed_in_good_order().await
}

async fn given_up<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let engine: Engine<DB> =
        started(&with_node("given_up", &case_database).close_timeout("1h")).await?;
    let node = engine.node("replica1")?;
    let held = (engine.acquire().await?, node.acquire().await?);
    let waiters = (
        Waiters::of(&engine, 30).await?,
        Waiters::of(&node, 30).await?,
    );
    ensure!(
        up_to(1, engine.close_connection_pool()).await.is_none(),
        "it did not wait"
    );
    for engine in [&engine, &node] {
        is_refused(engine).await?;
    }
    waiters.0.are_refused().await?;
    waiters.1.are_refused().await?;
    drop(held);
    bounded("the rest", poolhouse::wait_closed()).await?;
    case_database.closed_in_good_order().await
}

async fn joined<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let engine: Engine<DB> =
        started(&settings("joined", case_database.url()).close_timeout("1h")).await?;
    let held = engine.acquire().await?;
    ensure!(up_to(1, engine.close_connection_pool()).await.is_none());
    let mut second = Box::pin(engine.close_connection_pool());
    let mut third = Box::pin(engine.close_connection_pool());
    ensure!(up_to(1, &mut second).await.is_none(), "it did not wait");
    ensure!(up_to(1, &mut third).await.is_none(), "it did not wait");
    drop(held);
    for close in [second, third] {
        let report = bounded("the close", close).await?;
        ensure!(report.left.is_none() && report.open == 1, "{report:?}");
    }
    let report = engine.close_connection_pool().await;
    ensure!(report.left == Some(Left::NotStarted), "{report:?}");
    case_database.closed_in_good_order().await
}

async fn started_again<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let engine: Engine<DB> = started(
        &settings("again", case_database.url())
            .max_size(1)
            .close_timeout("1h"),
    )
    .await?;
    let held = engine.acquire().await?;
    ensure!(up_to(1, engine.close_connection_pool()).await.is_none());
    let start = tokio::spawn({
        let engine = engine.clone();
        async move { engine.start_connection_pool().await }
    });
    is_refused(&engine).await?;
    // There is never more than one session, as `max_size` says.
    ensure!(case_database.sessions().await? == Some(1));
    drop(held);
    bounded("the start", start).await???;
    Own(engine.clone()).execute("SELECT 1").await?;
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}

/// Spawns a start that does not end by itself.
#[allow(clippy::unused_async, reason = "a case of the table")]
async fn start<DB: Sql>(
    settings: &Settings,
) -> anyhow::Result<(
    Engine<DB>,
    tokio::task::JoinHandle<Result<(), poolhouse::Error>>,
)> {
    let engine: Engine<DB> = engine_finder_with(settings)?;
    let start = tokio::spawn({
        let engine = engine.clone();
        async move { engine.start_connection_pool().await }
    });
    Ok((engine, start))
}

/// Closes an engine during its start. The close ends soon, and the start fails.
async fn cancels<DB: Sql>(
    engine: &Engine<DB>,
    start: tokio::task::JoinHandle<Result<(), poolhouse::Error>>,
) -> anyhow::Result<()> {
    let report = bounded("the close", engine.close_connection_pool()).await?;
    ensure!(report.left == Some(Left::StartCancelled), "{report:?}");
    let said = bounded("the start", start).await??.err();
    let said = said.context("it has started")?.to_string();
    ensure!(said.contains("it was closed"), "{said}");
    is_refused(engine).await
}

async fn while_starting<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let (proxy, url) = through_proxy(&case_database)?;
    proxy.refuse();
    let node = Settings::new().url(&url);
    let settings = settings("retries", &url)
        .start_timeout("1h")
        .node("replica1", node);
    let (engine, start) = start::<DB>(&settings).await?;
    eventually("it starts", async || {
        let shown = format!("{engine:?}");
        ensure!(shown.contains("\"starting\""), "{shown}");
        Ok(())
    })
    .await?;
    cancels(&engine, start).await?;
    proxy.pass();
    engine.start_connection_pool().await?;
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}

async fn while_silent<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let (proxy, url) = through_proxy(&case_database)?;
    proxy.black_hole();
    let settings = settings("silent", &url)
        .start_timeout("1h")
        .connect_timeout("1h");
    let (engine, start) = start::<DB>(&settings).await?;
    proxy.open_become(1).await?;
    cancels(&engine, start).await
}

async fn while_migrating<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let sleep = DB::SLEEP.context("nothing runs for long here")?;
    std::fs::write(folder.path().join("1_long.sql"), sleep)?;
    let node = Settings::new().url(case_database.url()).min_size(2);
    let settings = settings("migrates", case_database.url())
        .close_timeout(CLOSE)
        .migrations(folder.path())
        .node("replica1", node);
    let (engine, start) = start::<DB>(&settings).await?;
    case_database.one_runs("3600").await?;
    cancels(&engine, start).await?;
    // No statement runs on, and the nodes are closed.
    bounded("the rest", poolhouse::wait_closed()).await?;
    case_database.no_session_left().await?;
    ensure!(case_database.database()?.ended_uncleanly().await? == 0);
    eventually("the start is over", async || {
        let shown = format!("{engine:?}");
        ensure!(shown.contains("\"closed\""), "{shown}");
        Ok(())
    })
    .await
}

async fn outside<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let engine: Engine<DB> = started(&settings("outside", case_database.url())).await?;
    let outside = std::thread::spawn({
        let engine = engine.clone();
        move || {
            drop(futures_util::FutureExt::now_or_never(
                engine.close_connection_pool(),
            ));
        }
    });
    let joined = tokio::task::spawn_blocking(move || outside.join());
    joined.await?.ok().context("it has panicked")?;
    bounded("the close", engine.close_connection_pool()).await?;
    bounded("the rest", poolhouse::wait_closed()).await?;
    case_database.closed_in_good_order().await
}
