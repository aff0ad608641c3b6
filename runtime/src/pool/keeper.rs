//! The pool's one background task: it retires idle connections, keeps `min_size` of them open, and warns of leaks.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::handle::{Flavour, Inner, Own};
use super::recovery;
use super::status::whole_millis;
use crate::backend::Backend;

/// The longest pause between two rounds, so that a resized or idle pool is looked after within a known time.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The shortest pause between two rounds. A server that refuses connections is asked once a round.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);

/// Keeps the pool until the pool is gone or closed. It holds the pool only during a round, so that it never keeps a
/// forgotten pool alive.
///
/// `lost` wakes it when the server seems to be gone.
pub(super) async fn keep<DB: Backend>(pool: Weak<Inner<DB>>, pause: Duration, lost: Arc<Notify>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = lost.notified() => tokio::time::sleep(SHORTEST_PAUSE).await,
        }
        let Some(pool) = pool.upgrade() else { return };
        let Flavour::Own(own) = &pool.flavour else {
            return;
        };
        if own.slots.is_closed() {
            return;
        }
        own.warn_of_leaks();
        own.retire_idle();
        own.fill_up();
        own.ask_again();
    }
}

/// A pause that notices the shortest of the pool's own times early enough.
pub(super) fn pause(times: impl IntoIterator<Item = Option<Duration>>) -> Duration {
    times
        .into_iter()
        .flatten()
        .map(|time| time / 4)
        .min()
        .unwrap_or(LONGEST_PAUSE)
        .clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}

impl<DB: Backend> Own<DB> {
    fn warn_of_leaks(&self) {
        let Some(limit) = self.settings().leak_after else {
            return;
        };
        for record in self.shared.registry.records() {
            if let Some(taken) = record.leak(limit) {
                crate::logging::warn!(
                    engine = %self.settings().engine,
                    session = taken.session.as_ref().map(|session| &*session.id),
                    "{} has been held for {}; {}. Drop it sooner, or raise leak_after",
                    taken.by,
                    humantime::format_duration(whole_millis(taken.since.elapsed())),
                    self.settings().describe("leak_after"),
                );
            }
        }
    }

    /// Takes retired and too long idle connections out of the queue; each says goodbye in a task of its own.
    pub(super) fn retire_idle(&self) {
        let now = Instant::now();
        let idle_timeout = self
            .settings()
            .idle_timeout
            .filter(|_| !self.shared.connector.in_memory());
        let sizes = self.slots.sizes();
        let mut spare = (sizes.taken + sizes.idle).saturating_sub(self.min_size());
        let counters = &self.shared.counters;
        let retired = self.slots.take_idle(|connection| {
            if connection.is_retired(now) {
                counters.closed_lifetime.fetch_add(1, Relaxed);
                spare = spare.saturating_sub(1);
                return true;
            }
            let idle_too_long = idle_timeout
                .is_some_and(|limit| now.saturating_duration_since(connection.idle_since) >= limit);
            if idle_too_long && spare > 0 {
                counters.closed_idle.fetch_add(1, Relaxed);
                spare -= 1;
                return true;
            }
            false
        });
        retired.into_iter().for_each(recovery::close);
    }

    /// Finds out whether a server that was gone is there again.
    fn ask_again(&self) {
        if self.shared.is_reachable() {
            return;
        }
        // Never in front of a caller that waits, who finds out by itself.
        let Some(slot) = self.slots.try_take() else {
            return self.shared.lost.notify_one();
        };
        let shared = Arc::clone(&self.shared);
        self.shared.spawn(async move {
            if let Err(error) = shared.make_ready(slot).await {
                tracing::debug!(engine = %shared.connector.settings.engine, %error, "the server is still not there");
                shared.lost.notify_one();
            }
        });
    }

    /// Opens what `min_size` lacks, side by side.
    fn fill_up(&self) {
        let sizes = self.slots.sizes();
        let lacking = self.min_size().saturating_sub(sizes.taken + sizes.idle);
        for _ in 0..lacking {
            // Never in front of a caller that waits.
            let Some(slot) = self.slots.try_take_empty() else {
                return;
            };
            let shared = Arc::clone(&self.shared);
            self.shared.spawn(async move {
                if let Err(error) = shared.make_ready(slot).await {
                    // The outage was logged when it began.
                    tracing::debug!(
                        engine = %shared.connector.settings.engine,
                        %error,
                        "a connection for min_size could not be opened; the next round tries again"
                    );
                }
            });
        }
    }

    /// The connections to keep, which are no more than there may be.
    fn min_size(&self) -> usize {
        (self.settings().min_size as usize).min(self.slots.sizes().max)
    }
}
