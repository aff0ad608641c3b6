//! A listener is opened as the pool opens its connections.

use std::{
    future::pending,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::{Context, ensure};
use poolhouse::{PgEngine, Settings, engine_finder_with};
use poolhouse_tests::{CaseDatabase, steps::outside_any_runtime};
use sqlx::{
    Postgres,
    postgres::{PgConnectOptions, PgListener},
};

use super::{bounded, settings, started};

/// An address without a listener.
const NOBODY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// Why no listener is opened.
async fn refused(settings: &Settings) -> anyhow::Result<String> {
    let engine: PgEngine = started(&settings.clone().lazy(true)).await?;
    let opened = bounded("the listener", engine.listener()).await?;
    let said = opened.err().context("it listens")?.to_string();
    engine.close_connection_pool().await;
    Ok(said)
}

#[tokio::test]
async fn a_listener_that_cannot_be_opened_names_the_cause() -> anyhow::Result<()> {
    let url = format!("postgres://band:s3cret@{NOBODY}/band");
    let said = refused(&settings("listener_refused", &url)).await?;
    ensure!(said.contains("refused"), "{said}");

    // The credentials never come.
    let silent = settings("listener_silent", &url)
        .connect_timeout("200ms")
        .before_connect(|_: PgConnectOptions| pending::<anyhow::Result<PgConnectOptions>>());
    let said = refused(&silent).await?;
    ensure!(said.contains("200ms (connect_timeout)"), "{said}");

    let failing =
        settings("listener_failing", &url).before_connect(|_: PgConnectOptions| async move {
            anyhow::Result::<PgConnectOptions>::Err(anyhow::anyhow!("no token for s3cret"))
        });
    let said = refused(&failing).await?;
    ensure!(said.contains("no token for ***"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_listener_chooses_a_host() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<Postgres>("listener_hosts").await? else {
        return Ok(());
    };
    let database = case_database.database()?;
    let host = database.address()?;
    let url = database
        .url()
        .replace(&host.to_string(), &format!("{NOBODY},{host}"));
    ensure!(url.contains(','), "{url}");
    let engine: PgEngine = started(&settings("listener_hosts", &url).lazy(true)).await?;
    let mut listener = bounded("the listener", engine.listener()).await??;
    listener.listen("bands").await?;
    sqlx::query("NOTIFY bands, 'new'").execute(&engine).await?;
    let heard = bounded("the notification", listener.recv()).await??;
    ensure!(heard.payload() == "new");
    drop(listener);
    engine.close_connection_pool().await;
    case_database.no_session_left().await
}

#[test]
fn a_listener_outside_a_runtime_is_an_error() -> anyhow::Result<()> {
    let settings = settings("listener_outside", format!("postgres://band@{NOBODY}/band"));
    let engine: PgEngine = engine_finder_with(&settings)?;
    let opened: sqlx::Result<PgListener> = outside_any_runtime(engine.listener());
    let said = opened.err().context("it listens")?.to_string();
    ensure!(said.contains("inside a tokio runtime"), "{said}");
    Ok(())
}
