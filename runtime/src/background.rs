//! Tasks that outlive their caller (closes of pools and connections, cancelled starts), and work at the end of a runtime.

use std::future::{Future, pending};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::AcqRel, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

static BACKGROUND: LazyLock<TaskTracker> = LazyLock::new(TaskTracker::new);

/// The time that a close may take beyond its limit, to terminate sessions on a server that does not answer.
pub(crate) const BEYOND: Duration = Duration::from_secs(5);

/// How long `main` waits in addition for openings that nobody waits for any more, whose closes and terminations have limits of
/// their own.
const ABANDONED: Duration = Duration::from_secs(10);

/// The longest limit of a close so far, in milliseconds.
static LONGEST_CLOSE: AtomicU64 = AtomicU64::new(0);

/// The program's own work after commits, which has no limit.
static HOOKS: LazyLock<TaskTracker> = LazyLock::new(TaskTracker::new);

/// Runs work on the current runtime. Outside any runtime the work is dropped with everything that it owns, so that sockets
/// close without a close message.
pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        BACKGROUND.spawn_on(work, &runtime);
    }
}

/// Runs work in a task, because it must not be interrupted. If the caller's future is dropped, the work goes on for `limit` at
/// most, and its result is dropped in the task; [`wait_closed`] waits for that, and not for a caller. `None` when the runtime
/// ends before.
pub(crate) async fn finish<T: Send + 'static>(
    runtime: &Handle,
    limit: Duration,
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let (mut sender, receiver) = oneshot::channel();
    let cleanup = Arc::new(OnceLock::new());
    let _caller = Caller(Arc::clone(&cleanup));
    let task = async move {
        let _cleanup = cleanup;
        let abandoned = async {
            sender.closed().await;
            sleep(limit).await;
        };
        let result = tokio::select! {
            result = work => result,
            () = abandoned => return,
        };
        let _ = sender.send(result);
    };
    runtime.spawn(task);
    receiver.await.ok()
}

/// Counts a task as work from the moment its caller goes away. The token lives as long as the task.
struct Caller(Arc<OnceLock<TaskTrackerToken>>);

impl Drop for Caller {
    fn drop(&mut self) {
        let _ = self.0.set(token());
    }
}

/// As [`spawn`], for commit hooks, on this runtime.
pub(crate) fn spawn_hooks(hooks: impl Future<Output = ()> + Send + 'static, runtime: &Handle) {
    HOOKS.spawn_on(hooks, runtime);
}

/// As [`track`], for a close with a limit of its own.
pub(crate) fn track_close<F: Future>(limit: Duration, close: F) -> impl Future<Output = F::Output> {
    let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    LONGEST_CLOSE.fetch_max(limit, Relaxed);
    track(close)
}

/// Counts work that is spawned elsewhere.
pub(crate) fn track<F: Future>(work: F) -> impl Future<Output = F::Output> {
    BACKGROUND.track_future(work)
}

/// Returns a token that counts as work until it is dropped.
pub(crate) fn token() -> TaskTrackerToken {
    BACKGROUND.token()
}

/// Waits until all closes in the background have ended: of pools whose owner's future was dropped, and of unused
/// connections. It also waits for futures of `on_commit`.
///
/// A lifespan function's future may be dropped, for example by `tokio::select!` or `JoinHandle::abort`. Its pools are then
/// closed in a task. A program that is about to end waits here, so that the task is not cut off with the runtime; `main`
/// under `#[with_pool]` does so by itself.
///
/// It has no limit: a close does not end while its tokio runtime exists and does not run, such as a current-thread runtime outside
/// `block_on`.
///
/// # Cancellation
///
/// The future may be dropped; the closes go on.
pub async fn wait_closed() {
    ended(&HOOKS).await;
    ended(&BACKGROUND).await;
}

/// Waits for commit hooks for `limit` at most, and returns the rest of the limit.
pub(crate) async fn hooks_within(limit: Duration) -> Duration {
    let begun = Instant::now();
    let _ = timeout(limit, ended(&HOOKS)).await;
    limit.saturating_sub(begun.elapsed())
}

/// As [`wait_closed`], but waits for commit hooks for `limit` at most. The closes have limits of their own, and are waited for as
/// long as the longest of them and `limit` allow, because they do not end on a runtime that does not run.
///
/// # Errors
///
/// Hooks are still running.
pub(crate) async fn wait_closed_within(limit: Duration) -> Result<(), Elapsed> {
    let hooks = timeout(limit, ended(&HOOKS)).await;
    let longest = Duration::from_millis(LONGEST_CLOSE.load(Relaxed)).max(limit);
    let closes = timeout(longest.saturating_add(ABANDONED), ended(&BACKGROUND));
    if closes.await.is_err() {
        crate::logging::warn!(
            "the close of a connection does not end, and is not waited for. If it was dropped on another tokio runtime, that \
             runtime has to run until the close has ended"
        );
    }
    hooks
}

/// As [`wait_closed`], without waiting for commit hooks.
pub(crate) async fn closes_end() {
    ended(&BACKGROUND).await;
}

async fn ended(tasks: &TaskTracker) {
    // A closed tracker still takes tasks. It only lets `wait` return when there are none.
    tasks.close();
    tasks.wait().await;
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

/// The handle on the work of [`at_runtime_end`]. Dropping it cancels the work.
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
