//! Many tasks and few slots: every waiter is served, costs little memory, and does not slow down queries.

use std::time::{Duration, Instant};

use anyhow::Context;
use poolhouse::PgEngine;
use tokio::task::JoinSet;

use crate::contender::CONNECTIONS;
use crate::median::median;

/// The number of tasks in each round.
const CROWDS: [usize; 3] = [64, 512, 10_000];

/// The queries of all tasks in one round, so that each of ten thousand tasks has four.
const QUERIES: usize = 40_000;

const ROUNDS: usize = 5;

/// Measures and prints the results.
#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(crate) async fn measure(engine: &PgEngine) -> anyhow::Result<()> {
    println!("\nPostgres: tasks waiting for {CONNECTIONS} slots");
    // First, while the process has no freed memory that the tasks could reuse.
    let memory = memory(engine, CROWDS[2]).await?;

    let mut rounds: Vec<Vec<Round>> = CROWDS.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (tasks, rounds) in CROWDS.into_iter().zip(&mut rounds) {
            rounds.push(round(engine, tasks).await?);
        }
    }
    println!(
        "{:>8}{:>18}{:>14}{:>14}{:>14}{:>12}",
        "tasks", "µs a query", "mean wait", "p99 wait", "longest", "p99/mean"
    );
    let (mut costs, mut unfairness) = (Vec::new(), Vec::new());
    for (tasks, rounds) in CROWDS.into_iter().zip(&rounds) {
        let cost = median(rounds.iter().map(|round| round.cost));
        let mean = median(rounds.iter().map(|round| round.mean));
        let p99 = median(rounds.iter().map(|round| round.p99));
        let longest = median(rounds.iter().map(|round| round.longest));
        let ratio = median(rounds.iter().map(|round| round.p99 / round.mean));
        println!(
            "{tasks:>8}{:>18.1}{:>11.2} ms{:>11.2} ms{:>11.2} ms{ratio:>12.2}",
            cost * 1e6,
            mean * 1e3,
            p99 * 1e3,
            longest * 1e3,
        );
        costs.push(cost);
        unfairness.push(ratio);
    }
    println!(
        "a waiter takes {:.0} bytes, its task and future included; a query costs {:.2} times as much with {} tasks as with {}",
        memory,
        costs[2] / costs[0],
        CROWDS[2],
        CROWDS[0],
    );
    // The bars are at most 1.5, 1.15 and 1000.
    println!(
        "waiters: p99_by_mean={:.2} cost_ratio={:.2} bytes={memory:.0}",
        unfairness[2],
        costs[2] / costs[0],
    );
    Ok(())
}

/// The results of one round, in seconds.
struct Round {
    /// The duration of the whole round, divided by its queries.
    cost: f64,
    mean: f64,
    p99: f64,
    longest: f64,
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
async fn round(engine: &PgEngine, tasks: usize) -> anyhow::Result<Round> {
    let queries = QUERIES / tasks;
    let begun = Instant::now();
    let mut crowd = JoinSet::new();
    for _ in 0..tasks {
        crowd.spawn(work(engine.clone(), queries));
    }
    let mut waits = Vec::with_capacity(QUERIES);
    while let Some(more) = crowd.join_next().await {
        // A task that starves fails at the `acquire_timeout`, and the benchmark fails with it.
        waits.extend(more??);
    }
    let cost = begun.elapsed().as_secs_f64() / waits.len() as f64;
    waits.sort();
    let mean = waits.iter().map(Duration::as_secs_f64).sum::<f64>() / waits.len() as f64;
    Ok(Round {
        cost,
        mean,
        p99: waits[waits.len() * 99 / 100].as_secs_f64(),
        longest: waits[waits.len() - 1].as_secs_f64(),
    })
}

async fn work(engine: PgEngine, queries: usize) -> anyhow::Result<Vec<Duration>> {
    let mut waits = Vec::with_capacity(queries);
    for _ in 0..queries {
        let begun = Instant::now();
        let mut checkout = engine.acquire().await?;
        waits.push(begun.elapsed());
        let _: i32 = sqlx::query_scalar("SELECT 1")
            .fetch_one(&mut checkout)
            .await?;
    }
    Ok(waits)
}

/// The bytes for each of this many waiting tasks.
#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
async fn memory(engine: &PgEngine, tasks: usize) -> anyhow::Result<f64> {
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        held.push(engine.acquire().await?);
    }
    let before = resident()?;
    let mut crowd = JoinSet::new();
    for _ in 0..tasks {
        let engine = engine.clone();
        crowd.spawn(async move { engine.acquire().await.map(drop) });
    }
    while engine.status().waiting < tasks {
        tokio::task::yield_now().await;
    }
    let after = resident()?;
    drop(held);
    while let Some(waited) = crowd.join_next().await {
        waited??;
    }
    Ok((after - before) as f64 / tasks as f64)
}

/// The resident memory of this process, in bytes.
fn resident() -> anyhow::Result<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kibibytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"))
        .context("no VmRSS in /proc/self/status")?;
    Ok(kibibytes.trim().parse::<usize>()? * 1024)
}
