//! Starts with nodes, and starts that are cancelled.

use std::time::Duration;

use anyhow::{Context, ensure};
use poolhouse::{Engine, Settings, engine_finder_with, with_pool};
use poolhouse_tests::{CaseDatabase, Heard, Sql, steps::up_to};
use tokio::time::timeout;

use super::{bounded, settings, started, through_proxy};
use crate::table::case_databases;

case_databases! {
    case_33_a_node_that_refuses_is_not_waited_for: refuses, on (postgres, mariadb);
    case_33_a_node_that_is_silent_is_not_waited_for: is_silent, on (postgres, mariadb);
    case_33_a_node_with_a_wrong_password_is_not_waited_for: wrong_password, on (postgres, mariadb);
    case_36_a_cancelled_start_leaves_no_node_open: cancelled, on (postgres, mariadb);
    // Not on SQLite: the driver's thread closes a connection that a cancelled start was opening, sometimes at the same moment as
    // another one. Both then leave the write-ahead log to the next start.
    case_36_a_start_is_cancelled_at_each_await_point: cancelled_everywhere, on (postgres, mariadb);
    case_36_a_start_that_fails_closes_its_nodes: failed, on (postgres, mariadb);
    a_cancelled_start_goes_on_for_others: others_wait, on (postgres, mariadb);
    the_first_failure_cancels_the_other_starts: first_failure, on (postgres, mariadb);
}

async fn refuses<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let heard = Heard::here();
    let (proxy, url) = through_proxy(&case_database)?;
    proxy.refuse();
    let node = Settings::new().url(url);
    let settings = settings("refuses", case_database.url())
        .start_timeout("1h")
        .node("replica1", node);
    let engine: Engine<DB> = bounded("the start", started(&settings)).await??;
    let port = engine.reader().name().to_owned();
    ensure!(port == "refuses", "a reader is {port}");
    if tokio::runtime::Handle::current().metrics().num_workers() == 1 {
        let warnings =
            heard.lines("the node could not be started; it is retried in the background");
        ensure!(warnings.len() == 1, "{warnings:?}");
        ensure!(
            warnings[0].contains("WARN") && warnings[0].contains("refuses/replica1"),
            "{warnings:?}"
        );
    }
    // The pool finds the node by itself.
    proxy.pass();
    poolhouse_tests::eventually("the node is found", async || {
        let reader = engine.reader().name().to_owned();
        ensure!(reader == "refuses/replica1", "a reader is {reader}");
        Ok(())
    })
    .await?;
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}

async fn is_silent<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let (proxy, url) = through_proxy(&case_database)?;
    proxy.black_hole();
    let node = Settings::new().url(url);
    let settings = settings("silent", case_database.url())
        .start_timeout("1h")
        .connect_timeout("1h")
        .close_timeout("1s")
        .node("replica1", node);
    let engine: Engine<DB> = bounded("the start", started(&settings)).await??;
    ensure!(engine.reader().name() == "silent");
    bounded("the close", engine.close_connection_pool()).await?;
    Ok(())
}

async fn wrong_password<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let database = case_database.database()?;
    let url = case_database.url().replace(database.password(), "wr0ng");
    let settings = settings("wrong", case_database.url())
        .start_timeout("1h")
        .node("replica1", Settings::new().url(url));
    let engine: Engine<DB> = bounded("the start", started(&settings)).await??;
    ensure!(engine.reader().name() == "wrong");
    engine.close_connection_pool().await;
    Ok(())
}

/// Settings of an engine that never starts, with a reachable node.
fn never_starts(url: &str, case_database: &CaseDatabase) -> Settings {
    let node = Settings::new()
        .url(case_database.url())
        .max_size(3)
        .min_size(3);
    settings("cancelled", url)
        .start_timeout("1h")
        .connect_timeout("1h")
        .node("replica1", node)
}

async fn cancelled<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let (proxy, url) = through_proxy(&case_database)?;
    for silent in [true, false] {
        if silent {
            proxy.black_hole();
        } else {
            proxy.refuse();
        }
        let engine: Engine<DB> = engine_finder_with(&never_starts(&url, &case_database))?;
        let start = engine.start_connection_pool();
        let opened = case_database
            .database()?
            .sessions_become("the node is open", |sessions| sessions.len() == 3);
        tokio::select! {
            started = start => anyhow::bail!("it has ended: {started:?}"),
            opened = opened => drop(opened?),
        }
        if silent {
            // The unanswered handshake lasts as long as the proxy is silent.
            proxy.reset();
        }
        bounded("the rest", poolhouse::wait_closed()).await?;
        case_database.closed_in_good_order().await?;
    }
    // A later start and close work as usual.
    proxy.pass();
    let engine: Engine<DB> = started(&never_starts(&url, &case_database)).await?;
    ensure!(engine.node("replica1")?.status().size == 3);
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}

async fn cancelled_everywhere<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let node = Settings::new().url(case_database.url()).min_size(2);
    let settings = settings("steps", case_database.url())
        .min_size(2)
        .node("replica1", node);
    for limit in [0, 1, 2, 3, 5, 8, 12, 20, 40] {
        let engine: Engine<DB> = engine_finder_with(&settings)?;
        // The start is a task, so the caller's await points are points in time.
        let start = timeout(Duration::from_millis(limit), engine.start_connection_pool());
        if let Ok(started) = start.await {
            started?;
            engine.close_connection_pool().await;
        }
        bounded("the rest", poolhouse::wait_closed()).await?;
        case_database.closed_in_good_order().await?;
    }
    // The start is dropped at its first await point, and repeated without a pause.
    let engine: Engine<DB> = engine_finder_with(&settings)?;
    for _ in 0..10 {
        ensure!(up_to(1, engine.start_connection_pool()).await.is_none());
    }
    bounded("the start", engine.start_connection_pool()).await??;
    ensure!(engine.node("replica1")?.status().size == 2);
    engine.close_connection_pool().await;
    bounded("the rest", poolhouse::wait_closed()).await?;
    case_database.closed_in_good_order().await
}

async fn failed<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("1_wrong.sql"), "CREATE TABL band")?;
    let node = Settings::new().url(case_database.url()).min_size(3);
    let settings = settings("failed", case_database.url())
        .migrations(folder.path())
        .node("replica1", node);
    let failed = started::<DB>(&settings).await;
    let said = failed.err().context("it has started")?.to_string();
    ensure!(said.contains("a migration failed"), "{said}");
    case_database.closed_in_good_order().await
}

/// Two callers wait for one start. The first is dropped, and the second gets the pool.
async fn others_wait<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let (proxy, url) = through_proxy(&case_database)?;
    proxy.stop();
    let engine: Engine<DB> = engine_finder_with(&settings("others", &url))?;
    let mut first = Box::pin(engine.start_connection_pool());
    ensure!(up_to(1, &mut first).await.is_none());
    let mut second = Box::pin(engine.start_connection_pool());
    ensure!(up_to(1, &mut second).await.is_none());
    proxy.open_become(1).await?;
    drop(first);
    proxy.pass();
    bounded("the start", second).await??;
    ensure!(engine.status().size == 1, "{}", engine.status());
    // The second caller is the only owner.
    let report = engine.close_connection_pool().await;
    ensure!(report.left.is_none(), "{report:?}");
    case_database.closed_in_good_order().await
}

#[with_pool(engine = "first", url = url, start_timeout = "1h")]
async fn two<DB: Sql>(
    url: &str,
    wrong: &str,
    #[pool] first: Engine<DB>,
    #[pool(engine = "second", url = wrong, start_timeout = "1h")] second: Engine<DB>,
) -> Result<(), poolhouse::Error> {
    let _ = (url, wrong, first, second);
    Ok(())
}

async fn first_failure<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let (proxy, url) = through_proxy(&case_database)?;
    proxy.refuse();
    let wrong = case_database.url() + "_missing";
    let failed = bounded("the run", two::<DB>(&url, &wrong)).await?;
    let said = failed.err().context("no error")?.to_string();
    ensure!(said.contains("the database does not exist"), "{said}");
    case_database.closed_in_good_order().await
}
