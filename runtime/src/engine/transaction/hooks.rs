//! Commit hooks: work after the commit of a transaction.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::Instrument;

use crate::background;
use crate::pool::Hooks;

/// The hooks of a committed transaction.
pub(in crate::engine) struct AfterCommit {
    pub(super) hooks: Hooks,
    /// The runtime of the transaction's pool; `None` without a pool.
    pub(super) runtime: Option<Handle>,
}

/// The hooks of one committed transaction, and the name of its engine.
pub(in crate::engine) type HooksOf = (String, AfterCommit);

/// Runs the hooks as [`start`] does, and waits for them.
pub(super) async fn run(engine: &str, after: AfterCommit) {
    if after.hooks.is_empty() {
        return;
    }
    start(vec![(engine.to_owned(), after)]).await;
}

/// Starts a task that runs the hooks one after the other, and returns a future that waits for it. Dropping that stops none of
/// them.
///
/// The task runs on the runtime of the first pool, because the caller's runtime may end sooner, as that of a worker of actix-web
/// does, or there is none. Without a pool it runs on the caller's.
///
/// A panic in a hook is logged and does not fail the transaction, which is committed.
pub(in crate::engine) fn start(committed: Vec<HooksOf>) -> impl Future<Output = ()> + Send {
    let (done, waiting) = oneshot::channel::<()>();
    let has_hooks = |(_, after): &&HooksOf| !after.hooks.is_empty();
    if let Some((engine, after)) = committed.iter().find(has_hooks) {
        let runtime = after.runtime.clone();
        let mut unfinished = Unfinished(Some(engine.clone()));
        let task = async move {
            for (engine, after) in committed {
                for hook in after.hooks {
                    if AssertUnwindSafe(hook).catch_unwind().await.is_err() {
                        tracing::error!(
                            %engine,
                            "a future of `on_commit` panicked; the transaction is committed"
                        );
                    }
                }
            }
            unfinished.finish();
            drop(done);
        };
        let runtime = runtime.or_else(|| Handle::try_current().ok());
        if let Some(runtime) = runtime {
            background::spawn_hooks(task.in_current_span(), &runtime);
        }
    }
    // The task drops the sender at its end, without a message.
    waiting.map(drop)
}

/// Logs hooks that are dropped before their end. It has the name of their engine until then.
struct Unfinished(Option<String>);

impl Unfinished {
    fn finish(&mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(engine) = &self.0 {
            tracing::error!(
                %engine,
                "a future of `on_commit` is dropped before its end, because its runtime has ended, or there is none; the \
                 transaction is committed"
            );
        }
    }
}
