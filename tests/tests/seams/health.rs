//! Health checks end within their limit, and tell a busy pool from a silent server.

use std::{future::pending, time::Duration};

use anyhow::{Context, ensure};
use poolhouse::{AcquireKind, AnyEngine, Engine, Error, Settings, engine_finder_with, with_pool};
use poolhouse_tests::{
    CaseDatabase, Options, Sql, Subject,
    subject::{OnSqlx, Own},
};
use tokio::time::Instant;

use super::{bounded, settings, started, through_proxy};
use crate::table::case_databases;

case_databases! {
    case_41_the_pool_is_busy: busy, on (postgres, mariadb, sqlite);
    case_41_a_sqlx_pool_is_busy: busy_on_sqlx, on (postgres, mariadb, sqlite);
    case_41_the_server_is_silent: silent, on (postgres, mariadb);
    case_41_the_server_is_silent_behind_a_sqlx_pool: silent_on_sqlx, on (postgres, mariadb);
    case_41_the_server_is_silent_before_the_start: silent_before_start, on (postgres, mariadb);
    case_41_a_node_and_any_engine: others, on (postgres, mariadb);
    health_without_a_limit_ends_as_well: default_limit, on (postgres, mariadb);
    extreme_limits_are_limits: extremes, on (postgres, mariadb, sqlite);
}

const SHORT: Duration = Duration::from_millis(300);

/// Fails unless the check ends soon after its limit, with this error.
async fn is<DB: Sql>(engine: &Engine<DB>, kind: AcquireKind, words: &str) -> anyhow::Result<()> {
    let begun = Instant::now();
    let health = bounded("the check", engine.health_within(SHORT)).await?;
    let took = begun.elapsed();
    // Well below every other limit.
    ensure!(took < Duration::from_secs(2), "it took {took:?}");
    let Error::Acquire(error) = health.err().context("it is healthy")? else {
        anyhow::bail!("another error");
    };
    ensure!(error.kind() == kind, "{error}");
    let said = error.to_string();
    ensure!(said.contains(words) && said.contains("300ms"), "{said}");
    Ok(())
}

const BUSY: &str = "it is busy: no connection became free for the health check";
const SILENT: &str = "the server gave no answer to the health check";

async fn busy<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let engine: Engine<DB> = started(&settings("busy", case_database.url()).max_size(2)).await?;
    let held = (engine.acquire().await?, engine.acquire().await?);
    is(&engine, AcquireKind::TimedOut, BUSY).await?;
    drop(held);
    let health = engine.health_within(Duration::from_secs(10)).await?;
    ensure!(health.status.in_use == 0, "{health:?}");
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}

async fn busy_on_sqlx<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let pool = OnSqlx::<DB>::start(Options {
        max_size: 1,
        ..Options::new(case_database.url())
    })
    .await?;
    let held = pool.acquire().await?;
    is(pool.engine(), AcquireKind::TimedOut, BUSY).await?;
    drop(held);
    pool.engine().health().await?;
    pool.close().await;
    Ok(())
}

async fn silent<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let (proxy, url) = through_proxy(&case_database)?;
    // With a connection that is not validated, and with one that is.
    for validate_after in ["1h", "0s"] {
        let settings = settings("silent", &url)
            .max_size(1)
            .validate_after(validate_after)
            .close_timeout(SHORT);
        let engine: Engine<DB> = started(&settings).await?;
        Own(engine.clone()).execute("SELECT 1").await?;
        proxy.black_hole();
        is(&engine, AcquireKind::NoAnswer, SILENT).await?;
        proxy.pass();
        // A connection that has lost bytes stays silent.
        proxy.reset();
        bounded("the close", engine.close_connection_pool()).await?;
        case_database.no_session_left().await?;
    }
    Ok(())
}

async fn silent_on_sqlx<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let (proxy, url) = through_proxy(&case_database)?;
    let pool = OnSqlx::<DB>::start(Options {
        max_size: 1,
        close_timeout: SHORT,
        ..Options::new(url)
    })
    .await?;
    poolhouse_tests::eventually("the connection of the start is idle", async || {
        ensure!(
            pool.engine().status().idle == 1,
            "{}",
            pool.engine().status()
        );
        Ok(())
    })
    .await?;
    proxy.black_hole();
    is(pool.engine(), AcquireKind::NoAnswer, SILENT).await?;
    proxy.pass();
    proxy.reset();
    bounded("the close", pool.close()).await?;
    case_database.no_session_left().await
}

async fn silent_before_start<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let (proxy, url) = through_proxy(&case_database)?;
    proxy.black_hole();
    let engine: Engine<DB> = engine_finder_with(&settings("not_started", url))?;
    is(&engine, AcquireKind::NoAnswer, SILENT).await
}

#[with_pool(engine = "any", url = url, max_size = 1)]
async fn any(url: &str, #[pool] db: AnyEngine) -> anyhow::Result<()> {
    let _ = url;
    let held = db.acquire().await?;
    let health = bounded("the check", db.health_within(SHORT)).await?;
    let Error::Acquire(error) = health.err().context("it is healthy")? else {
        anyhow::bail!("another error");
    };
    ensure!(error.kind() == AcquireKind::TimedOut, "{error}");
    drop(held);
    Ok(())
}

async fn others<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let (proxy, url) = through_proxy(&case_database)?;
    let node = Settings::new().url(&url).max_size(1);
    let settings = settings("others", case_database.url())
        .close_timeout(SHORT)
        .node("replica1", node);
    let engine: Engine<DB> = started(&settings).await?;
    proxy.black_hole();
    is(&engine.node("replica1")?, AcquireKind::NoAnswer, SILENT).await?;
    engine.health_within(Duration::from_secs(10)).await?;
    proxy.pass();
    proxy.reset();
    bounded("the close", engine.close_connection_pool()).await?;
    any(&case_database.url()).await
}

async fn default_limit<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let settings = settings("default_limit", case_database.url()).max_size(1);
    let engine: Engine<DB> = started(&settings.acquire_timeout("1h")).await?;
    let held = engine.acquire().await?;
    let health = bounded("the check", engine.health()).await?;
    let said = health.err().context("it is healthy")?.to_string();
    ensure!(said.contains(BUSY) && said.contains("within 5s"), "{said}");
    drop(held);
    engine.close_connection_pool().await;
    Ok(())
}

async fn extremes<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let engine: Engine<DB> =
        started(&settings("extremes", case_database.url()).max_size(1)).await?;
    for limit in [
        Duration::MAX,
        Duration::MAX / 2,
        Duration::from_secs(u64::MAX),
    ] {
        engine.health_within(limit).await?;
    }
    let held = engine.acquire().await?;
    for limit in [Duration::ZERO, Duration::from_nanos(1)] {
        let health = engine.health_within(limit).await;
        ensure!(health.is_err(), "{health:?}");
    }
    let for_ever = engine.health_within(Duration::MAX);
    tokio::select! {
        health = for_ever => anyhow::bail!("it has an answer: {health:?}"),
        () = async { tokio::time::sleep(SHORT).await } => {}
        () = pending() => {}
    }
    drop(held);
    engine.close_connection_pool().await;
    Ok(())
}
