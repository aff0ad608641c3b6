//! What is done after the commit of a transaction.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tokio::sync::oneshot;
use tracing::Instrument;

use crate::background;
use crate::pool::Hooks;

/// Runs them one after the other, in a task, so that a caller who goes away meanwhile stops none of them; and waits for it.
///
/// The transaction is committed, so a panic in one of them is logged, and is no failure of the transaction.
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
    background::spawn(task.in_current_span());
    // Dropped at the end of the task, and without a message.
    let _ = waiting.await;
}
