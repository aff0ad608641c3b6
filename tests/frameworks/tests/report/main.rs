//! A report, not a test: the events of `tests/drive` on each framework as a table, for the service written by hand over
//! `sqlx::PgPool`. `tests/compare-services` runs it; with the argument `poolhouse` it has poolhouse's services instead.
//!
//! Every outcome of an event is printed. Only an event that cannot be driven is an error.

mod cells;
#[path = "../drive/mod.rs"]
mod drive;
mod services;
mod sessions;

use std::env;

use anyhow::Context;
use poolhouse_tests::{Kind, Server, servers};

use self::cells::{EVENTS, UNLESS_SAID};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let services = match env::args().nth(1).as_deref() {
        None => services::SQLX_ALONE,
        Some("poolhouse") => services::POOLHOUSE,
        Some(other) => anyhow::bail!("there are no services {other:?}"),
    };
    let server = servers::require(Kind::Postgres).context("run tests/compare-services")?;
    println!("{}", versions(&server).await?);
    println!();
    println!("{UNLESS_SAID}");
    println!();
    let names: Vec<&str> = services.iter().map(|service| service.framework).collect();
    println!("| event | {} |", names.join(" | "));
    println!("|---|{}", "---|".repeat(names.len()));
    for (event, cell) in EVENTS {
        let mut row = vec![(*event).to_owned()];
        for service in services {
            let cell = cell(service).await;
            row.push(cell.with_context(|| format!("{event}, {}", service.framework))?);
        }
        println!("| {} |", row.join(" | "));
    }
    Ok(())
}

/// The date, and the versions of the packages and of the server.
async fn versions(server: &Server) -> anyhow::Result<String> {
    let mut versions = vec![answer(server, "SELECT current_date::text").await?];
    for package in ["sqlx", "axum", "actix-web", "rocket", "tonic", "poem"] {
        versions.push(format!("{package} {}", version(package)?));
    }
    let postgres = answer(server, "SHOW server_version").await?;
    versions.push(format!("Postgres {postgres}"));
    Ok(versions.join(", "))
}

/// The single value that a server returns.
async fn answer(server: &Server, sql: &str) -> anyhow::Result<String> {
    let rows = server.ask(&[sql.to_owned()]).await?;
    let value = rows.into_iter().flatten().flatten().next();
    value.with_context(|| format!("no answer to {sql}"))
}

/// The version of a package in this build.
fn version(package: &str) -> anyhow::Result<&'static str> {
    let lock = include_str!("../../../../Cargo.lock");
    let found = lock.split_once(&format!("name = \"{package}\"\nversion = \""));
    let version = found.and_then(|(_, rest)| rest.split('"').next());
    version.with_context(|| format!("no {package} in Cargo.lock"))
}
