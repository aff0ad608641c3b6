//! What goes on when nobody waits for it: closes whose owner's future was dropped, openings that nobody wants any more,
//! and goodbyes.

use std::future::Future;

use once_cell::sync::Lazy;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

static BACKGROUND: Lazy<TaskTracker> = Lazy::new(TaskTracker::new);

/// Runs work on the current runtime. Outside any runtime there is nobody to do it: the work is dropped, and what it owns
/// with it, so that sockets close without a goodbye.
pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        BACKGROUND.spawn_on(work, &runtime);
    }
}

/// Makes work that runs elsewhere count.
pub(crate) fn track<F: Future>(work: F) -> impl Future<Output = F::Output> {
    BACKGROUND.track_future(work)
}

/// Waits until every pool is closed whose owner's future was dropped, and every connection has said its goodbye that
/// was opened for nobody.
///
/// A lifespan function's future may be dropped, for example by `tokio::select!` or `JoinHandle::abort`. Its pools are then
/// closed in a task. A program that is about to end waits here, so that the task is not cut off with the runtime; `main`
/// under `#[with_pool]` does so by itself.
///
/// # Cancellation
///
/// The future may be dropped; the closes go on.
pub async fn closed() {
    // A closed tracker still takes tasks; it only lets the waiters go when there are none.
    BACKGROUND.close();
    BACKGROUND.wait().await;
}
