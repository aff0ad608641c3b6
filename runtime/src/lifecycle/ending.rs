//! The end of the process by a signal, when several runs are under way: a lifespan function inside another one, or beside it.
//!
//! An interrupted run cannot return a value to its caller, so the process has to end. It ends when every run has closed its
//! pools: the other runs are interrupted as if by the signal, and the last one ends the process. A body that waits for an
//! interrupted run inside it cannot return, so it has no grace.

use std::future::Future;
use std::sync::{LazyLock, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::background::{self, BEYOND};
use crate::lock::lock;

/// A body ended by a signal.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Interrupted {
    pub(super) signal: i32,
}

impl Interrupted {
    /// The exit code of a program that a signal has ended, as in a shell: 128 and its number.
    pub(super) fn exit_code(self) -> i32 {
        128 + self.signal
    }
}

/// The state of the process that all runs use.
#[derive(Default)]
struct Ending {
    /// Set when a run was interrupted, so that the process will end.
    begun: CancellationToken,
    /// Set when remaining work has to end now.
    force: CancellationToken,
    by: OnceLock<Interrupted>,
    /// The longest time that each run under way takes to end. Held for a read or a change, never across an await.
    runs: Mutex<Vec<(u64, Duration)>>,
    /// Notified of each run that ends.
    ended: watch::Sender<u64>,
}

static ENDING: LazyLock<Ending> = LazyLock::new(Ending::default);

tokio::task_local! {
    /// The `is_stuck` of the run whose body this task is in.
    static AROUND: CancellationToken;
}

impl Ending {
    fn runs(&self) -> MutexGuard<'_, Vec<(u64, Duration)>> {
        lock(&self.runs)
    }
}

/// A run, registered with the others.
pub(super) struct Member {
    id: u64,
    /// Set when the body waits for a run that was interrupted.
    is_stuck: CancellationToken,
    /// The same of the run around this one.
    around: Option<CancellationToken>,
}

impl Member {
    /// Registers a run. `limit` is the longest time from a signal to the end of its closes.
    pub(super) fn join(limit: Duration) -> Self {
        let mut runs = ENDING.runs();
        let id = runs.iter().map(|(id, _)| id + 1).max().unwrap_or_default();
        runs.push((id, limit.saturating_add(BEYOND)));
        Self {
            id,
            is_stuck: CancellationToken::new(),
            around: AROUND.try_with(CancellationToken::clone).ok(),
        }
    }

    /// Runs the body, so that runs inside it can find this one.
    pub(super) async fn around<T>(&self, body: impl Future<Output = T>) -> T {
        AROUND.scope(self.is_stuck.clone(), body).await
    }

    /// Waits until the body waits for a run that was interrupted.
    pub(super) async fn is_stuck(&self) {
        self.is_stuck.cancelled().await;
    }

    /// Waits until the process is going to end because another run was interrupted.
    pub(super) async fn others_end(&self) -> Interrupted {
        ENDING.begun.cancelled().await;
        // Set before the token.
        ENDING.by.get().copied().unwrap_or_default()
    }

    /// A token that is set when everything has to end at once.
    pub(super) fn force() -> CancellationToken {
        ENDING.force.child_token()
    }

    /// Ends all remaining work of the process now, and waits for the closes in the background as long as that takes.
    pub(super) async fn force_all() {
        ENDING.force.cancel();
        let _ = tokio::time::timeout(BEYOND, background::closes_end()).await;
    }

    /// Interrupts the other runs and waits for them, after this one was interrupted and has closed its pools. The process may
    /// end then. `force` ends the remaining work of the others.
    pub(super) async fn end(self, by: Interrupted, force: &CancellationToken) {
        ENDING.by.get_or_init(|| by);
        ENDING.begun.cancel();
        if let Some(around) = &self.around {
            around.cancel();
        }
        let mut ended = ENDING.ended.subscribe();
        drop(self);
        let others = async {
            loop {
                ended.borrow_and_update();
                let longest = ENDING.runs().iter().map(|(_, limit)| *limit).max();
                let Some(longest) = longest else { break };
                if tokio::time::timeout(longest, ended.changed())
                    .await
                    .is_err()
                {
                    crate::logging::warn!(
                        "another function under #[with_pool] does not end, and is not waited for"
                    );
                    break;
                }
            }
            // Closes of runs that were dropped with the body around them.
            let _ = tokio::time::timeout(BEYOND, background::wait_closed()).await;
        };
        tokio::select! {
            () = others => {}
            () = async {
                force.cancelled().await;
                ENDING.force.cancel();
                tokio::time::sleep(BEYOND).await;
            } => {}
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        ENDING.runs().retain(|(id, _)| *id != self.id);
        ENDING.ended.send_modify(|ended| *ended += 1);
    }
}
