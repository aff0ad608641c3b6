//! Every form of `#[transactional]`, under the lints that a strict crate turns on. Only the last functions trigger lints, and only
//! by their own code.

#![warn(clippy::pedantic, unused)]
#![warn(
    missing_docs,
    redundant_lifetimes,
    single_use_lifetimes,
    trivial_casts,
    trivial_numeric_casts,
    unused_lifetimes,
    unused_qualifications,
    unused_results
)]
#![allow(dead_code)]

use std::fmt::Display;

use poolhouse::{Backend, Transaction};
use sqlx::Postgres;

type Result<T> = std::result::Result<T, sqlx::Error>;

#[poolhouse::transactional]
async fn on_one_line(tx: &mut Transaction<Postgres>) -> Result<u64> { execute(tx).await }

#[poolhouse::transactional]
async fn opaque_on_one_line(tx: &mut Transaction<Postgres>) -> Result<impl Display> { execute(tx).await }

#[poolhouse::transactional(isolation = "serializable", retries = 3, timeout = "5s")]
async fn arguments(tx: &mut Transaction<Postgres>, name: &str, mut count: u64) -> Result<u64> {
    count += execute(tx).await?;
    println!("{name}");
    Ok(count)
}

#[poolhouse::transactional(local("app.tenant" = tenant, "app.user" = name))]
async fn local_settings(tx: &mut Transaction<Postgres>, tenant: &str, name: String) -> Result<String> {
    let _count = execute(tx).await?;
    Ok(format!("{tenant} {name}"))
}

#[poolhouse::transactional]
async fn patterns(tx: &mut Transaction<Postgres>, (host, port): (String, u16), [first, .., last]: [u8; 4], _: bool) -> Result<String> {
    let count = execute(tx).await?;
    Ok(format!("{host}:{port} {first} {last} {count}"))
}

#[poolhouse::transactional]
async fn generic<DB: Backend, T: Display + Send + Sync>(_tx: &mut Transaction<DB>, value: &T) -> Result<String> {
    tokio::task::yield_now().await;
    Ok(value.to_string())
}

#[poolhouse::transactional]
async fn levels(tx: &mut Transaction<Postgres>, #[allow(unused_variables)] id: i64, #[expect(unused_variables)] name: &str) -> Result<u64> {
    execute(tx).await
}

#[poolhouse::transactional(retries = 0)]
async fn at_most_once(tx: &mut Transaction<Postgres>, counts: &mut Vec<u64>) -> Result<()> {
    counts.push(execute(tx).await?);
    Ok(())
}

async fn execute(tx: &mut Transaction<Postgres>) -> Result<u64> {
    let done = sqlx::query("SELECT 1").execute(tx).await?;
    Ok(done.rows_affected())
}

/// Has lints of its own.
#[poolhouse::transactional]
pub async fn lints_of_its_own(tx: &mut Transaction<Postgres>, name: &str, ports: &Vec<u16>) -> Result<usize> {
    let unused = 5;
    let count = ports.iter().map(|port| *port).count();
    if name.len() == 0 {
        return Ok(0);
    }
    let _ = execute(tx).await?;
    return Ok(count as usize);
}
