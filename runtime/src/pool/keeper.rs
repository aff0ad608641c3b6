//! The pool's one background task: it retires idle connections, keeps `min_size` of them open, and warns of leaks.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::{Flavour, Inner, Own};
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
        if own.places.is_closed() {
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
        for card in self.yard.register.cards() {
            if let Some(taken) = card.leak(limit) {
                tracing::warn!(
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
            .filter(|_| !self.yard.connector.in_memory());
        let mut spare = self
            .places
            .status()
            .size
            .saturating_sub(self.settings().min_size as usize);
        let counters = &self.yard.counters;
        let gone = self.places.retain(|place, _| {
            let Some(filled) = &place.0 else { return false };
            if filled.is_retired(now) {
                counters.closed_lifetime.fetch_add(1, Relaxed);
                spare = spare.saturating_sub(1);
                return false;
            }
            let idle_too_long = idle_timeout
                .is_some_and(|limit| now.saturating_duration_since(filled.idle_since) >= limit);
            if idle_too_long && spare > 0 {
                counters.closed_idle.fetch_add(1, Relaxed);
                spare -= 1;
                return false;
            }
            true
        });
        drop(gone);
    }

    /// Finds out whether a server that was gone is there again.
    fn ask_again(&self) {
        if self.yard.is_reachable() {
            return;
        }
        // Never in front of a caller that waits, who finds out by itself.
        let Some(place) = self.place_at_once() else {
            return self.yard.lost.notify_one();
        };
        let yard = Arc::clone(&self.yard);
        self.yard.spawn(async move {
            if let Err(error) = yard.make_ready(place).await {
                tracing::debug!(engine = %yard.connector.settings.engine, %error, "the server is still not there");
                yard.lost.notify_one();
            }
        });
    }

    /// Opens what `min_size` lacks, side by side.
    fn fill_up(&self) {
        let lacking = (self.settings().min_size as usize).saturating_sub(self.places.status().size);
        let (mut empty, mut idle) = (Vec::with_capacity(lacking), Vec::new());
        while empty.len() < lacking {
            // Never in front of a caller that waits.
            match self.place_at_once() {
                Some(place) if place.0.is_none() => empty.push(place),
                // The queue comes first, so the empty places are behind those that are idle.
                Some(place) => idle.push(place),
                None => break,
            }
        }
        drop(idle);
        for place in empty {
            let yard = Arc::clone(&self.yard);
            self.yard.spawn(async move {
                if let Err(error) = yard.make_ready(place).await {
                    tracing::warn!(
                        engine = %yard.connector.settings.engine,
                        %error,
                        "a connection for min_size could not be opened; the next round tries again"
                    );
                }
            });
        }
    }
}

/// A duration without the digits that nobody reads.
pub(super) fn whole_millis(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
