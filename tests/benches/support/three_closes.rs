//! The close of three engines of one function, each with a leaked checkout, under one limit.

use std::mem;
use std::time::{Duration, Instant};

use poolhouse::{PgEngine, with_pool};

/// The `close_timeout` of each engine.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

#[with_pool(engine = "first", url = url, close_timeout = CLOSE_TIMEOUT)]
async fn three(
    url: &str,
    #[pool] first: PgEngine,
    #[pool(engine = "second", url = url, close_timeout = CLOSE_TIMEOUT)] second: PgEngine,
    #[pool(engine = "third", url = url, close_timeout = CLOSE_TIMEOUT)] third: PgEngine,
) -> anyhow::Result<Instant> {
    let _ = url;
    for engine in [first, second, third] {
        mem::forget(engine.acquire().await?);
    }
    Ok(Instant::now())
}

/// The time of the whole close as a multiple of `close_timeout`. The bar is 1.2.
pub(crate) async fn three_closes(url: &str) -> anyhow::Result<f64> {
    let begun = three(url).await?;
    let took = begun.elapsed();
    let times = took.as_secs_f64() / CLOSE_TIMEOUT.as_secs_f64();
    println!(
        "{:<14}{:>11.0} ms, with a close_timeout of {:.0} ms",
        "three closes",
        took.as_secs_f64() * 1e3,
        CLOSE_TIMEOUT.as_secs_f64() * 1e3
    );
    Ok(times)
}
