//! Latency over a network, with a proxy that adds a millisecond in each direction before Postgres.
//!
//! ```text
//! cargo bench --bench latency
//! ```
//!
//! | line | meaning |
//! |---|---|
//! | round trip | a ping on its own connection: the unit of the others |
//! | point read | a row by its key, one task; through `&Engine` and `&sqlx::Pool` with default options |
//! | start | until a pool has 32 connections, which is its minimum |
//! | close | of a pool with 100 idle connections |
//! | three closes | of three engines of one function, each with a leaked checkout; in the bar as a multiple of `close_timeout` |
//! | readiness | `Engine::readiness` with every connection held and tasks waiting |
//!
//! Engine and `sqlx::Pool` take turns, and the table has the medians. The last line is the bar: the round trips of a point read
//! through the engine, and the time of a start and a close of `sqlx::Pool` relative to the engine's.

#![allow(unreachable_pub, missing_docs, reason = "a program")]

#[path = "support/database.rs"]
mod database;
#[path = "support/median.rs"]
mod median;
#[path = "support/readiness.rs"]
mod readiness;
#[path = "support/three_closes.rs"]
mod three_closes;

use std::time::{Duration, Instant};

use anyhow::ensure;
use median::median;
use poolhouse::{PgEngine, Settings, engine_finder_with};
use poolhouse_tests::{Kind, Proxy};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool};

/// The delay of the proxy in each direction.
const DELAY: Duration = Duration::from_millis(1);

/// Rounds of a point read, of a start and of a close.
const READS: usize = 500;
const LIVES: usize = 9;

/// The minimum size of the pools that are started.
const STARTED: u32 = 32;

/// The connections of each pool that is closed.
const CLOSED: u32 = 100;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let measured = database::database(Kind::Postgres).await?;
    let proxy = Proxy::before(measured.database.address()?)?;
    proxy.delay(DELAY);
    let url = measured.database.url_through(proxy.address());

    println!(
        "{:<14}{:>14}{:>14}{:>10}",
        "", "engine", "sqlx::Pool", "ratio"
    );
    let roundtrips = point_reads(&url).await?;
    let start = life(&url, "start", STARTED, |life| life.start).await?;
    let close = life(&url, "close", CLOSED, |life| life.close).await?;
    let three_closes = three_closes::three_closes(&url).await?;
    let readiness = readiness::readiness(&url).await?;
    println!(
        "\nbar: roundtrips={roundtrips:.2} start_ratio={start:.1} close_ratio={close:.1} three_closes={three_closes:.2} readiness_ns={readiness:.0}"
    );
    Ok(())
}

/// The number of round trips of a point read through the engine.
async fn point_reads(url: &str) -> anyhow::Result<f64> {
    const READ: &str = "SELECT name FROM item WHERE id = $1";

    let mut dedicated = PgConnection::connect(url).await?;
    sqlx::raw_sql(
        "CREATE TABLE item (id int PRIMARY KEY, name text); INSERT INTO item VALUES (1, 'a name')",
    )
    .execute(&mut dedicated)
    .await?;
    let engine = engine(url, "reads", 0).await?;
    let pool = PgPool::connect(url).await?;

    let mut times = Vec::with_capacity(READS);
    for _ in 0..READS {
        let roundtrip = seconds(dedicated.ping()).await?;
        let through_engine = seconds(
            sqlx::query_scalar::<_, String>(READ)
                .bind(1)
                .fetch_one(&engine),
        )
        .await?;
        let through_pool = seconds(
            sqlx::query_scalar::<_, String>(READ)
                .bind(1)
                .fetch_one(&pool),
        )
        .await?;
        times.push([roundtrip, through_engine, through_pool]);
    }
    engine.close_connection_pool().await;
    pool.close().await;

    let [roundtrip, through_engine, through_pool] =
        [0, 1, 2].map(|column| median(times.iter().map(|times| times[column])));
    println!("{:<14}{:>11.2} ms", "round trip", roundtrip * 1e3);
    println!(
        "{:<14}{:>11.2} ms{:>11.2} ms{:>9.1}×",
        "point read",
        through_engine * 1e3,
        through_pool * 1e3,
        through_pool / through_engine,
    );
    println!(
        "{:<14}{:>14.2}{:>14.2}",
        "round trips",
        through_engine / roundtrip,
        through_pool / roundtrip
    );
    Ok(through_engine / roundtrip)
}

/// The start and the close of one pool, in seconds.
struct Life {
    start: f64,
    close: f64,
}

/// The time of a start or a close of `sqlx::Pool` with that many connections, relative to the engine's.
async fn life(
    url: &str,
    name: &str,
    connections: u32,
    part: fn(&Life) -> f64,
) -> anyhow::Result<f64> {
    let mut lives = Vec::with_capacity(LIVES);
    for _ in 0..LIVES {
        lives.push((
            engine_life(url, name, connections).await?,
            pool_life(url, connections).await?,
        ));
    }
    let engine = median(lives.iter().map(|(engine, _)| part(engine)));
    let pool = median(lives.iter().map(|(_, pool)| part(pool)));
    let ratio = median(lives.iter().map(|(engine, pool)| part(pool) / part(engine)));
    println!(
        "{:<14}{:>11.2} ms{:>11.2} ms{ratio:>9.1}×",
        format!("{name} of {connections}"),
        engine * 1e3,
        pool * 1e3,
    );
    Ok(ratio)
}

async fn engine_life(url: &str, name: &str, connections: u32) -> anyhow::Result<Life> {
    let begun = Instant::now();
    let engine = engine(url, name, connections).await?;
    let start = begun.elapsed().as_secs_f64();
    ensure!(
        engine.status().idle == connections as usize,
        "{}",
        engine.status()
    );
    let begun = Instant::now();
    let report = engine.close_connection_pool().await;
    ensure!(report.is_clean(), "{report}");
    Ok(Life {
        start,
        close: begun.elapsed().as_secs_f64(),
    })
}

async fn pool_life(url: &str, connections: u32) -> anyhow::Result<Life> {
    let begun = Instant::now();
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .min_connections(connections)
        .connect(url)
        .await?;
    let start = begun.elapsed().as_secs_f64();
    ensure!(
        pool.num_idle() == connections as usize,
        "{} are idle",
        pool.num_idle()
    );
    let begun = Instant::now();
    pool.close().await;
    Ok(Life {
        start,
        close: begun.elapsed().as_secs_f64(),
    })
}

/// A started engine with this minimum size.
async fn engine(url: &str, name: &str, min_size: u32) -> anyhow::Result<PgEngine> {
    let settings = Settings::new()
        .engine(name)
        .url(url)
        .min_size(min_size)
        .max_size(min_size.max(10));
    let engine: PgEngine = engine_finder_with(&settings)?;
    engine.start_connection_pool().await?;
    Ok(engine)
}

/// The duration of a future, in seconds.
async fn seconds<T, E>(future: impl Future<Output = Result<T, E>>) -> Result<f64, E> {
    let begun = Instant::now();
    future.await?;
    Ok(begun.elapsed().as_secs_f64())
}
