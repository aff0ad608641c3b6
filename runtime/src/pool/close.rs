//! Closing a pool: refuses new checkouts, waits for current ones, and terminates the remaining sessions on the server.

use std::time::{Duration, Instant};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::handle::{Flavour, Own, Pool};
use super::report::{CloseOutcome, CloseReport, EndedHolder};
use crate::backend::Backend;
use crate::lock::lock;

/// How long holders have to release their checkouts after their sessions were terminated: a tenth of `close_timeout`, so
/// that the whole close keeps to its limit, at least 20 ms and at most a second.
fn release_limit(limit: Duration) -> Duration {
    (limit / 10).clamp(Duration::from_millis(20), Duration::from_secs(1))
}

impl<DB: Backend> Pool<DB> {
    /// Closes the pool: refuses new checkouts, waits for current ones up to `close_timeout` or until `force`, and terminates
    /// the remaining sessions on the server. The close takes at most `close_timeout` and a few seconds.
    pub(crate) async fn close(&self, force: &CancellationToken) -> CloseReport {
        let begun = Instant::now();
        let open = self.status().size;
        let limit = self.0.settings.close_timeout;
        let (ended, unreachable) = match &self.0.flavour {
            Flavour::Own(own) => own.close(limit, force).await,
            Flavour::Sqlx(pool) => pool.close(limit, force).await,
        };
        CloseReport {
            engine: self.0.settings.engine.clone(),
            open,
            ended,
            took: begun.elapsed(),
            left: None,
            unreachable,
        }
    }
}

impl<DB: Backend> Own<DB> {
    async fn close(&self, limit: Duration, force: &CancellationToken) -> CloseOutcome {
        // Idle connections, and those that return later, are closed in tasks of their own. Every open connection holds a
        // token of `tasks`, so this waits for all of them.
        self.begin_close();
        let drained = tokio::select! {
            result = timeout(limit, self.shared.tasks.wait()) => result.is_ok(),
            () = force.cancelled() => false,
        };
        let outcome = if drained {
            (Vec::new(), None)
        } else {
            self.end_what_is_left(limit).await
        };
        let anchor = lock(&self.anchor).take();
        if let Some(anchor) = anchor {
            self.shared.connector.close(anchor).await;
        }
        self.shared.meters.closed();
        outcome
    }

    /// Refuses every checkout from now on, wakes the waiters, and closes the idle connections.
    pub(super) fn begin_close(&self) {
        // First, so that a caller whose connection is not opened any more learns that the pool is closed.
        self.closing.cancel();
        // So that no task that closes a connection waits for room on the server, and borrowed connections are returned.
        self.shared.tasks.close();
        let idle = self.slots.close();
        self.release_kept_empty();
        drop(idle);
    }

    async fn end_what_is_left(&self, limit: Duration) -> CloseOutcome {
        let ended: Vec<EndedHolder> = self
            .shared
            .registry
            .taken()
            .into_iter()
            .map(|taken| EndedHolder {
                holder: taken.by.to_string(),
                held: taken.since.elapsed(),
                session: taken.session.map(|session| session.id.to_string()),
            })
            .collect();
        // Every session that is still open, also during a recovery or a close.
        let sessions: Vec<_> = self
            .shared
            .registry
            .records()
            .iter()
            .filter_map(|record| record.session.clone())
            .collect();
        let unreachable = self.shared.connector.terminate_at_close(sessions).await;
        // Holders that do not release their checkouts have unusable connections.
        let _ = timeout(release_limit(limit), self.shared.tasks.wait()).await;
        (ended, unreachable)
    }
}
