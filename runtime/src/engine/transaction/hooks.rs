//! Commit hooks: work after the commit of a transaction.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tokio::sync::oneshot;
use tracing::Instrument;

use crate::background;
use crate::pool::Hooks;

/// The hooks of one committed transaction, and the name of its engine.
pub(in crate::engine) type HooksOf = (String, Hooks);

/// Runs the hooks as [`start`] does, and waits for them.
pub(super) async fn run(engine: &str, hooks: Hooks) {
    if hooks.is_empty() {
        return;
    }
    start(vec![(engine.to_owned(), hooks)]).await;
}

/// Starts a task that runs the hooks one after the other, and returns a future that waits for it. Dropping that stops none of
/// them.
///
/// A panic in a hook is logged and does not fail the transaction, which is committed.
pub(in crate::engine) fn start(committed: Vec<HooksOf>) -> impl Future<Output = ()> + Send {
    let (done, waiting) = oneshot::channel::<()>();
    let is_empty = committed.iter().all(|(_, hooks)| hooks.is_empty());
    let task = async move {
        for (engine, hooks) in committed {
            for hook in hooks {
                if AssertUnwindSafe(hook).catch_unwind().await.is_err() {
                    tracing::error!(
                        %engine,
                        "a future of `on_commit` panicked; the transaction is committed"
                    );
                }
            }
        }
        drop(done);
    };
    if !is_empty {
        background::spawn_hooks(task.in_current_span());
    }
    // The task drops the sender at its end, without a message.
    waiting.map(drop)
}
