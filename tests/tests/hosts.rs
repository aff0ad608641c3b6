//! Several hosts in one URL: the choice of a host, and a primary that moves.

mod choice;
mod failover;
mod marks;
mod moved;
mod nodes;

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use poolhouse::{Engine, Settings, engine_finder_with};
use poolhouse_tests::{
    Kind, PrivateServer, Sql, Subject, TestDatabase, eventually, private_server::Builder,
    subject::Own,
};
use sqlx::Connection;

/// The URL of a database on several servers; `user` is `user:password`, `rest` follows the addresses.
fn url_of(scheme: &str, user: &str, servers: &[SocketAddr], rest: &str) -> String {
    let servers: Vec<String> = servers.iter().map(SocketAddr::to_string).collect();
    format!("{scheme}://{user}@{}/{rest}", servers.join(","))
}

async fn started<DB: Sql>(settings: &Settings) -> Result<Engine<DB>, poolhouse::Error> {
    let engine = engine_finder_with(settings)?;
    engine.start_connection_pool().await?;
    Ok(engine)
}

/// The number that a statement of the superuser returns.
async fn number(server: &PrivateServer, sql: &str) -> anyhow::Result<i64> {
    let rows = server.ask(&[sql.to_owned()]).await?;
    let value = rows.into_iter().flatten().flatten().next();
    Ok(value.unwrap_or_default().parse()?)
}

/// A server that can have a replica; `None` outside `tests/run`.
fn primary<DB: Sql>() -> anyhow::Result<Option<Builder>> {
    let kind = DB::SERVER.context("it has no servers")?;
    let builder = PrivateServer::require(kind);
    Ok(match kind {
        Kind::Postgres => builder,
        Kind::MariaDb => builder.map(|builder| builder.setting("log-bin", "changes")),
    })
}

/// Waits until the replica has the database.
async fn follows<DB: Sql>(replica: &PrivateServer, database: &TestDatabase) -> anyhow::Result<()> {
    let there = database.url_through(replica.address());
    eventually("the replica has the database", async || {
        DB::Connection::connect(&there).await?.close().await?;
        Ok(())
    })
    .await
}

/// The port of the server that an engine's queries reach.
async fn port<DB: Sql>(engine: &Engine<DB>) -> anyhow::Result<u16> {
    let query = DB::PORT.context("it has no servers")?;
    let port = Own(engine.clone()).number(query).await?;
    Ok(port.try_into()?)
}

/// `user:password` of a database.
fn user_of(database: &TestDatabase) -> String {
    format!("{}:{}", database.name(), database.password())
}

/// The URL scheme of a database type.
fn scheme_of<DB: Sql>() -> &'static str {
    match DB::SERVER {
        Some(Kind::MariaDb) => "mysql",
        _ => "postgres",
    }
}

/// Waits until a server has no session of a database's user.
async fn nobody_left(database: &TestDatabase, server: &PrivateServer) -> anyhow::Result<()> {
    eventually("no session is left", async || {
        let left = database.sessions_on(server).await?;
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
    .await
}
