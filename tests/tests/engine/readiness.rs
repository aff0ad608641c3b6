//! Readiness in each phase, from the pool's own state.

use anyhow::ensure;
use poolhouse::Readiness::{Closed, Ready, Saturated, Starting, Unreachable};
use poolhouse::{Engine, Settings, engine_finder_with};
use poolhouse_tests::faults::start::allow;
use poolhouse_tests::{CaseDatabase, Proxy, Sql, eventually};
use sqlx::Connection;

use crate::table::case_databases;

case_databases! {
    readiness_follows_the_pool: phases, on (postgres, mariadb, sqlite);
    readiness_follows_the_server: server, on (postgres, mariadb);
    readiness_while_the_server_is_full: full, on (postgres, mariadb);
    readiness_of_all_is_the_worst_of_those_that_are_started: all, on (sqlite);
    an_engine_that_starts_or_closes_beside_a_started_one_does_not_count: beside, on (postgres, mariadb);
}

async fn phases<DB: Sql>(database: CaseDatabase) -> anyhow::Result<()> {
    let settings = Settings::new()
        .engine("phases")
        .url(database.url())
        .max_size(1);
    let engine: Engine<DB> = engine_finder_with(&settings)?;
    ensure!(engine.readiness() == Starting);
    engine.start_connection_pool().await?;
    ensure!(engine.readiness() == Ready);
    let held = engine.acquire().await?;
    // No task waits.
    ensure!(engine.readiness() == Ready);
    let waiter = tokio::spawn({
        let engine = engine.clone();
        async move { engine.acquire().await.map(drop) }
    });
    eventually("a task waits", async || {
        ensure!(engine.status().waiting == 1);
        Ok(())
    })
    .await?;
    ensure!(engine.readiness() == Saturated);
    drop(held);
    waiter.await??;
    ensure!(engine.readiness() == Ready);
    engine.close_connection_pool().await;
    ensure!(engine.readiness() == Closed);
    engine.start_connection_pool().await?;
    ensure!(engine.readiness() == Ready);
    engine.close_connection_pool().await;
    Ok(())
}

async fn server<DB: Sql>(database: CaseDatabase) -> anyhow::Result<()> {
    let proxy = Proxy::before(database.database()?.address()?)?;
    let url = database.database()?.url_through(proxy.address());
    let settings = Settings::new()
        .engine("server")
        .url(url)
        .acquire_timeout("500ms")
        .close_timeout("100ms");
    let engine: Engine<DB> = engine_finder_with(&settings)?;
    engine.start_connection_pool().await?;
    proxy.refuse();
    proxy.reset();
    ensure!(sqlx::Executor::execute(&engine, "SELECT 1").await.is_err());
    ensure!(engine.readiness() == Unreachable, "{}", engine.readiness());
    // The pool finds the server again by itself.
    proxy.pass();
    eventually("it is ready again", async || {
        ensure!(engine.readiness() == Ready, "{}", engine.readiness());
        Ok(())
    })
    .await?;
    engine.close_connection_pool().await;
    Ok(())
}

async fn full<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let database = case_database.database()?;
    let settings = Settings::new()
        .engine("full")
        .url(case_database.url())
        .max_size(4)
        .lazy(true)
        // Time for one refusal by the server at least, also on a slow machine.
        .acquire_timeout("3s");
    let engine: Engine<DB> = engine_finder_with(&settings)?;
    engine.start_connection_pool().await?;
    // Without a connection the pool cannot serve.
    allow(database, 1).await?;
    let only = DB::Connection::connect(database.url()).await?;
    ensure!(engine.acquire().await.is_err(), "there is room");
    ensure!(engine.readiness() == Unreachable, "{}", engine.readiness());
    only.close().await?;
    allow(database, 2).await?;
    // The pool opens a connection by itself, which would otherwise take the place of one below.
    eventually("it is ready", async || {
        ensure!(engine.readiness() == Ready, "{}", engine.readiness());
        Ok(())
    })
    .await?;
    let mut held = Vec::new();
    // The server may still count the session that has just closed.
    eventually("two connections are in use", async || {
        while held.len() < 2 {
            held.push(engine.acquire().await?);
        }
        Ok(())
    })
    .await?;
    ensure!(engine.readiness() == Ready, "{}", engine.readiness());
    ensure!(engine.acquire().await.is_err(), "there is room");
    ensure!(engine.readiness() == Saturated, "{}", engine.readiness());
    drop(held);
    eventually("a connection is idle", async || {
        ensure!(engine.readiness() == Ready, "{}", engine.readiness());
        Ok(())
    })
    .await?;
    engine.close_connection_pool().await;
    Ok(())
}

async fn all<DB: Sql>(database: CaseDatabase) -> anyhow::Result<()> {
    let settings = |name: &str| Settings::new().engine(name).url(database.url()).max_size(1);
    ensure!(poolhouse::readiness() == Starting);
    let one: Engine<DB> = engine_finder_with(&settings("one"))?;
    let other: Engine<DB> = engine_finder_with(&settings("other"))?;
    ensure!(poolhouse::readiness() == Starting);
    one.start_connection_pool().await?;
    // The other engine is not started.
    ensure!(poolhouse::readiness() == Ready);
    other.start_connection_pool().await?;
    let held = other.acquire().await?;
    let waiter = tokio::spawn({
        let other = other.clone();
        async move { other.acquire().await.map(drop) }
    });
    eventually("a task waits", async || {
        ensure!(other.status().waiting == 1);
        Ok(())
    })
    .await?;
    ensure!(poolhouse::readiness() == Saturated);
    drop(held);
    waiter.await??;
    other.close_connection_pool().await;
    ensure!(poolhouse::readiness() == Ready);
    one.close_connection_pool().await;
    ensure!(poolhouse::readiness() == Closed);
    Ok(())
}

async fn beside<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let database = case_database.database()?;
    let proxy = Proxy::before(database.address()?)?;
    let one = Settings::new().engine("one").url(case_database.url());
    let one: Engine<DB> = engine_finder_with(&one)?;
    let other = Settings::new()
        .engine("other")
        .url(database.url_through(proxy.address()));
    let other: Engine<DB> = engine_finder_with(&other)?;
    proxy.stop();
    let start = tokio::spawn({
        let other = other.clone();
        async move { other.start_connection_pool().await }
    });
    proxy.open_become(1).await?;
    ensure!(poolhouse::readiness() == Starting);
    one.start_connection_pool().await?;
    ensure!(poolhouse::readiness() == Ready, "while it starts");
    proxy.pass();
    start.await??;
    let held = other.acquire().await?;
    let close = tokio::spawn({
        let other = other.clone();
        async move { other.close_connection_pool().await }
    });
    eventually("it closes", async || {
        ensure!(other.readiness() == Closed);
        Ok(())
    })
    .await?;
    ensure!(poolhouse::readiness() == Ready, "while it closes");
    drop(held);
    close.await?;
    one.close_connection_pool().await;
    ensure!(poolhouse::readiness() == Closed);
    Ok(())
}
