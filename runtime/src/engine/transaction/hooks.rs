//! Commit hooks: work after the commit of a transaction.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tokio::sync::oneshot;
use tracing::Instrument;

use crate::background;
use crate::pool::Hooks;

/// Runs the hooks one after the other in a task, and waits for the task. A dropped caller stops none of them.
///
/// A panic in a hook is logged and does not fail the transaction, which is committed.
pub(super) async fn run(engine: &str, hooks: Hooks) {
    if hooks.is_empty() {
        return;
    }
    let engine = engine.to_owned();
    let (done, waiting) = oneshot::channel::<()>();
    let task = async move {
        for hook in hooks {
            if AssertUnwindSafe(hook).catch_unwind().await.is_err() {
                tracing::error!(
                    %engine,
                    "what was to be done after a commit (`on_commit`) panicked; the transaction is committed all the same"
                );
            }
        }
        drop(done);
    };
    background::spawn_hooks(task.in_current_span());
    // The task drops the sender at its end, without a message.
    let _ = waiting.await;
}
