//! The end of the process by a signal, when several runs are under way: a lifespan function inside another one, or beside it.
//!
//! The run that is interrupted cannot give its caller a value, so the process has to end. It ends when every run has closed
//! its pools: the others are interrupted as if they had heard the signal themselves, and the last one ends the process. A run
//! whose body waits for an interrupted run inside it can wait for nothing more.

use std::future::Future;
use std::sync::{LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::background;

/// A body ended by a signal.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Interrupted {
    pub(super) signal: i32,
}

impl Interrupted {
    /// What a shell reports of a program that a signal has ended: 128 and its number.
    pub(super) fn exit_code(self) -> i32 {
        128 + self.signal
    }
}

/// What a close may take beyond its limit: ending sessions on a server that does not answer.
const BEYOND: Duration = Duration::from_secs(5);

/// What all runs of the process share.
#[derive(Default)]
struct Ending {
    /// Set when a run was interrupted, so that the process will end.
    begun: CancellationToken,
    /// Set when what is left is to end now.
    force: CancellationToken,
    by: OnceLock<Interrupted>,
    /// The longest that each run under way takes to end. Held for a look or a change, never across an await.
    runs: Mutex<Vec<(u64, Duration)>>,
    /// Told of each run that ends.
    ended: watch::Sender<u64>,
}

static ENDING: LazyLock<Ending> = LazyLock::new(Ending::default);

tokio::task_local! {
    /// The run whose body this task is in.
    static AROUND: CancellationToken;
}

impl Ending {
    fn runs(&self) -> MutexGuard<'_, Vec<(u64, Duration)>> {
        // Nothing panics while the lock is held.
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run among the others.
pub(super) struct Member {
    id: u64,
    /// Set when the body waits for a run that was interrupted.
    is_stuck: CancellationToken,
    /// The same of the run around this one.
    around: Option<CancellationToken>,
}

impl Member {
    /// Joins the others. `limit` is the longest that the run takes from a signal to the end of its closes.
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

    /// Runs the body, so that runs inside it know of this one.
    pub(super) async fn around<T>(&self, body: impl Future<Output = T>) -> T {
        AROUND.scope(self.is_stuck.clone(), body).await
    }

    /// Waits until the body can wait for nothing more.
    pub(super) async fn is_stuck(&self) {
        self.is_stuck.cancelled().await;
    }

    /// Waits until the process is going to end because another run was interrupted.
    pub(super) async fn others_end(&self) -> Interrupted {
        ENDING.begun.cancelled().await;
        // Set before.
        ENDING.by.get().copied().unwrap_or_default()
    }

    /// What ends everything at once.
    pub(super) fn force() -> CancellationToken {
        ENDING.force.child_token()
    }

    /// Interrupts the other runs after this one was interrupted and has closed its pools, and waits for them; the process
    /// may end then. `force` ends what the others have left.
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
            // Closes whose owner's future was dropped with the body around it.
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
