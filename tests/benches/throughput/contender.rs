//! The contenders, and one round of one of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinSet;

use crate::statement::{KEYS, Statement};

/// The number of connections of each contender.
pub(crate) const CONNECTIONS: usize = 8;

/// The duration of one round. It is short, so that a disturbance affects all contenders of a turn alike, and long compared to the
/// start of 512 tasks.
const ROUND: Duration = Duration::from_millis(80);

/// A task's access to its database.
pub(crate) trait Worker: Send + 'static {
    /// Runs a statement and reads the answer.
    fn ask(
        &mut self,
        statement: Statement,
        key: i32,
    ) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// A named access to the database.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    round: Box<dyn Fn(Statement, usize) -> BoxFuture<'static, anyhow::Result<f64>>>,
}

impl Contender {
    /// A pool, to which every task has a handle.
    pub(crate) fn pool<W: Worker + Clone>(name: &'static str, pool: W) -> Self {
        let round = move |statement, tasks| -> BoxFuture<'static, _> {
            Box::pin(round(vec![pool.clone(); tasks], statement))
        };
        Self {
            name,
            round: Box::new(round),
        }
    }

    /// Connections without a pool: at most as many tasks as connections, each with its own.
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
                    // The lock is free, because rounds run one after another.
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

    /// Statements per second with this many tasks.
    pub(crate) async fn round(&self, statement: Statement, tasks: usize) -> anyhow::Result<f64> {
        (self.round)(statement, tasks).await
    }
}

/// Lets the workers query until the round ends, and counts the statements.
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
        // The stride is coprime to the number of keys, so that all keys are visited, in no useful order.
        key = (key + 4_441) % KEYS + 1;
        worker.ask(statement, key).await?;
        done += 1;
    }
    Ok(done)
}
