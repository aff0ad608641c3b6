//! Several hosts in one URL: which of them is taken, and what happens when the primary moves.

mod choice;
mod failover;
mod moved;
mod nodes;

use std::net::SocketAddr;

use poolhouse::{Engine, Settings, engine_finder_with};
use poolhouse_tests::{PrivateServer, Sql};

/// The URL of a database on several servers: `user:password@`, all addresses, and what comes after.
fn url_of(scheme: &str, user: &str, servers: &[SocketAddr], rest: &str) -> String {
    let servers: Vec<String> = servers.iter().map(SocketAddr::to_string).collect();
    format!("{scheme}://{user}@{}/{rest}", servers.join(","))
}

async fn started<DB: Sql>(settings: &Settings) -> Result<Engine<DB>, poolhouse::Error> {
    let engine = engine_finder_with(settings)?;
    engine.start_connection_pool().await?;
    Ok(engine)
}

/// The number that a statement of the superuser's answers with.
async fn number(server: &PrivateServer, sql: &str) -> anyhow::Result<i64> {
    let rows = server.ask(&[sql.to_owned()]).await?;
    let value = rows.into_iter().flatten().flatten().next();
    Ok(value.unwrap_or_default().parse()?)
}
