//! Tasks that outlive their caller: closes whose owner's future was dropped, cancelled starts, goodbyes; and what is done
//! when a runtime ends.

use std::future::{Future, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel};

use once_cell::sync::Lazy;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

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

/// Counts as work until it is dropped.
pub(crate) fn token() -> TaskTrackerToken {
    BACKGROUND.token()
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
pub async fn wait_closed() {
    // A closed tracker still takes tasks; it only lets the waiters go when there are none.
    BACKGROUND.close();
    BACKGROUND.wait().await;
}

/// Runs `end` when the current runtime ends, unless the returned value is dropped before.
///
/// It runs while the runtime drops its tasks, so it must not wait and cannot use the runtime. `None` outside any runtime.
pub(crate) fn at_runtime_end(end: impl FnOnce() + Send + 'static) -> Option<AtRuntimeEnd> {
    let runtime = Handle::try_current().ok()?;
    let armed = Arc::new(AtomicBool::new(true));
    let end = RuntimeEnd {
        armed: Arc::clone(&armed),
        run: Some(Box::new(end)),
    };
    // The task never ends by itself: it is dropped by the runtime, and its `RuntimeEnd` with it.
    let task = runtime.spawn(async move {
        let _end = end;
        pending::<()>().await;
    });
    Some(AtRuntimeEnd {
        armed,
        task: task.abort_handle(),
    })
}

/// Stands for what [`at_runtime_end`] is to run; dropping it withdraws that.
#[derive(Debug)]
pub(crate) struct AtRuntimeEnd {
    armed: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Drop for AtRuntimeEnd {
    fn drop(&mut self) {
        self.armed.swap(false, AcqRel);
        self.task.abort();
    }
}

struct RuntimeEnd {
    armed: Arc<AtomicBool>,
    run: Option<Box<dyn FnOnce() + Send>>,
}

impl Drop for RuntimeEnd {
    fn drop(&mut self) {
        if self.armed.swap(false, AcqRel)
            && let Some(run) = self.run.take()
        {
            run();
        }
    }
}
