//! Those who are compared, and one round of one of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinSet;

use crate::statement::{KEYS, Statement};

/// Connections of each contender.
pub(crate) const CONNECTIONS: usize = 8;

/// How long one round lasts. Short, so that a disturbance meets all contenders of a turn alike; long enough that the
/// beginning, with 512 new tasks, does not count.
const ROUND: Duration = Duration::from_millis(80);

/// What one task asks its database with.
pub(crate) trait Worker: Send + 'static {
    /// Asks once and reads the answer.
    fn ask(
        &mut self,
        statement: Statement,
        key: i32,
    ) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// One way to the database.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    round: Box<dyn Fn(Statement, usize) -> BoxFuture<'static, anyhow::Result<f64>>>,
}

impl Contender {
    /// A pool: every task has a handle to it.
    pub(crate) fn pool<W: Worker + Clone>(name: &'static str, pool: W) -> Self {
        let round = move |statement, tasks| -> BoxFuture<'static, _> {
            Box::pin(round(vec![pool.clone(); tasks], statement))
        };
        Self {
            name,
            round: Box::new(round),
        }
    }

    /// Connections without a pool: as many tasks as there are connections, or fewer, each with its own.
    pub(crate) fn dedicated<C>(name: &'static str, connections: Vec<C>) -> Self
    where
        C: Send + 'static,
        OwnedMutexGuard<C>: Worker,
    {
        let connections: Vec<_> = connections
            .into_iter()
            .map(|connection| Arc::new(Mutex::new(connection)))
            .collect();
        let round = move |statement, tasks| -> BoxFuture<'static, _> {
            let connections: Vec<_> = connections.iter().take(tasks).cloned().collect();
            Box::pin(async move {
                let mut workers = Vec::new();
                for connection in connections {
                    // Free: rounds come one after the other.
                    workers.push(connection.lock_owned().await);
                }
                round(workers, statement).await
            })
        };
        Self {
            name,
            round: Box::new(round),
        }
    }

    /// Statements a second with this many tasks.
    pub(crate) async fn round(&self, statement: Statement, tasks: usize) -> anyhow::Result<f64> {
        (self.round)(statement, tasks).await
    }
}

/// Lets the workers ask until the time is over, and counts.
#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
async fn round<W: Worker>(workers: Vec<W>, statement: Statement) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for (worker, key) in workers.into_iter().zip(1..) {
        tasks.spawn(work(worker, statement, key, begun + ROUND));
    }
    let mut done = 0;
    while let Some(count) = tasks.join_next().await {
        done += count??;
    }
    Ok(done as f64 / begun.elapsed().as_secs_f64())
}

async fn work<W: Worker>(
    mut worker: W,
    statement: Statement,
    mut key: i32,
    end: Instant,
) -> anyhow::Result<usize> {
    let mut done = 0;
    while Instant::now() < end {
        // A stride without a common divisor with the number of keys visits all of them, in no useful order.
        key = (key + 4_441) % KEYS + 1;
        worker.ask(statement, key).await?;
        done += 1;
    }
    Ok(done)
}
