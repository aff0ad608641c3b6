//! The events of `tests/drive` on each framework, with the service that is written by hand over `sqlx::PgPool`, as a table:
//! a report, not a test. `tests/compare-services` runs it; with the argument `poolhouse` it has poolhouse's services instead.
//!
//! What comes of an event is printed, whatever it is. Only an event that cannot be driven is an error.

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

/// The date, and what this was built with and runs on.
async fn versions(server: &Server) -> anyhow::Result<String> {
    let mut versions = vec![answer(server, "SELECT current_date::text").await?];
    for package in ["sqlx", "axum", "actix-web", "rocket", "tonic", "poem"] {
        versions.push(format!("{package} {}", version(package)?));
    }
    let postgres = answer(server, "SHOW server_version").await?;
    versions.push(format!("Postgres {postgres}"));
    Ok(versions.join(", "))
}

/// The one value that a server answers.
async fn answer(server: &Server, sql: &str) -> anyhow::Result<String> {
    let rows = server.ask(&[sql.to_owned()]).await?;
    let value = rows.into_iter().flatten().flatten().next();
    value.with_context(|| format!("no answer to {sql}"))
}

/// The version of a package that this was built with.
fn version(package: &str) -> anyhow::Result<&'static str> {
    let lock = include_str!("../../../../Cargo.lock");
    let found = lock.split_once(&format!("name = \"{package}\"\nversion = \""));
    let version = found.and_then(|(_, rest)| rest.split('"').next());
    version.with_context(|| format!("no {package} in Cargo.lock"))
}
