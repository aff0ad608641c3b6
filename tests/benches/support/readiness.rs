//! `Engine::readiness` while every connection is in use and tasks wait for one.

use std::hint::black_box;
use std::time::Instant;

use anyhow::ensure;
use poolhouse::{PgEngine, Readiness, Settings, engine_finder_with};

/// Connections of the pool, and tasks that wait for one.
const CONNECTIONS: u32 = 10;
const WAITERS: usize = 100;

/// The number of calls that are timed together.
const CALLS: u32 = 100_000;

/// The time of a call in nanoseconds. The promise is below 1000.
pub async fn readiness(url: &str) -> anyhow::Result<f64> {
    let settings = Settings::new()
        .engine("readiness")
        .url(url)
        .max_size(CONNECTIONS)
        .acquire_timeout("1h");
    let engine: PgEngine = engine_finder_with(&settings)?;
    engine.start_connection_pool().await?;
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        held.push(engine.acquire().await?);
    }
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..WAITERS {
        let engine = engine.clone();
        waiting.spawn(async move { engine.acquire().await.map(drop) });
    }
    while engine.status().waiting < WAITERS {
        tokio::task::yield_now().await;
    }
    ensure!(engine.readiness() == Readiness::Saturated);
    let begun = Instant::now();
    for _ in 0..CALLS {
        black_box(black_box(&engine).readiness());
    }
    let nanos = begun.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS);
    println!(
        "{:<14}{nanos:>11.0} ns, with every connection held",
        "readiness"
    );
    drop(held);
    waiting.shutdown().await;
    engine.close_connection_pool().await;
    Ok(nanos)
}
