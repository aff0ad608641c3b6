//! The pool's one maintenance task: it retires idle connections, keeps `min_size` open, asks an unreachable server again,
//! and warns of leaks.

use std::future::Future;
use std::mem;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::connecting::ABANDONED;
use super::connection::SlotOf;
use super::handle::{Flavour, Inner, Own};
use super::recovery;
use crate::backend::Backend;
use crate::error::whole_millis;
use crate::lock::lock;

/// The longest pause between two rounds, so that a resized or idle pool is maintained within a known time.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The shortest pause between two rounds. A server that refuses connections is asked once a round.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);

/// Maintains the pool until it is dropped or closed. The task holds the pool only during a round, so that it does not keep a
/// dropped pool alive.
///
/// `wake` begins a round early: at once, but not sooner than [`SHORTEST_PAUSE`] after the last one.
pub(super) async fn keep<DB: Backend>(pool: Weak<Inner<DB>>, pause: Duration, wake: Arc<Notify>) {
    let mut next = Instant::now();
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = wake.notified() => tokio::time::sleep_until(next.into()).await,
        }
        next = Instant::now() + SHORTEST_PAUSE;
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
        own.ask_for_room(Arc::downgrade(&pool));
    }
}

/// A quarter of the shortest of these times, between [`SHORTEST_PAUSE`] and [`LONGEST_PAUSE`].
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
                    whole_millis(taken.since.elapsed()),
                    self.settings().describe("leak_after"),
                );
            }
        }
    }

    /// Takes retired connections, and those idle for too long, out of the queue. Each is closed in a task of its own.
    pub(super) fn retire_idle(&self) {
        let now = Instant::now();
        let idle_timeout = self
            .settings()
            .idle_timeout
            .filter(|_| !self.shared.connector.in_memory());
        let sizes = self.slots.sizes();
        let connections = (sizes.taken + sizes.idle).saturating_sub(self.kept_empty());
        let mut spare = connections.saturating_sub(self.min_size());
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

    /// Checks whether an unreachable server answers again.
    fn ask_again(&self) {
        if self.shared.is_reachable() {
            return;
        }
        // Never ahead of a waiter, which asks the server itself.
        let Some(slot) = self.slots.try_take() else {
            return self.shared.wake_keeper.notify_one();
        };
        let shared = Arc::clone(&self.shared);
        self.spawn_until_closed(async move {
            if let Err(error) = shared.make_ready(slot).await {
                tracing::debug!(engine = %shared.connector.settings.engine, %error, "the server is still not there");
                shared.wake_keeper.notify_one();
            }
        });
    }

    /// The number of empty slots for which a full server had no room.
    fn kept_empty(&self) -> usize {
        lock(&self.kept_empty).len()
    }

    /// Keeps an empty slot for which a full server had no room.
    pub(super) fn keep_empty(&self, empty: SlotOf<DB>) {
        let sizes = self.slots.sizes();
        if sizes.taken + sizes.idle > sizes.max {
            // The pool has become smaller, and would close connections in its place.
            return drop(empty);
        }
        lock(&self.kept_empty).push(empty);
        if self.closing.is_cancelled() {
            self.release_kept_empty();
        }
        self.shared.wake_keeper.notify_one();
    }

    /// Gives one of the slots that were kept to the waiter at the front, which asks the server. If there is room, its success
    /// releases the next one.
    pub(super) fn release_one_kept_empty(&self) {
        let released = lock(&self.kept_empty).pop();
        // Outside of the lock, because a waiter is woken.
        drop(released);
    }

    /// Gives all slots that were kept back.
    pub(super) fn release_kept_empty(&self) {
        let released = mem::take(&mut *lock(&self.kept_empty));
        // Outside of the lock, because waiters are woken.
        drop(released);
    }

    /// Asks a server that was full whether it has room now, for one of the slots that were kept. Without waiters, no room is
    /// needed.
    fn ask_for_room(&self, pool: Weak<Inner<DB>>) {
        if self.slots.sizes().waiting == 0 {
            return self.release_kept_empty();
        }
        let Some(empty) = lock(&self.kept_empty).pop() else {
            return;
        };
        let shared = Arc::clone(&self.shared);
        self.spawn_until_closed(async move {
            let ready = shared.try_ready(empty).await;
            let Some(pool) = pool.upgrade() else { return };
            let Flavour::Own(own) = &pool.flavour else {
                return;
            };
            match ready {
                Ok(ready) => {
                    drop(ready);
                    own.release_one_kept_empty();
                }
                Err((_, empty)) if shared.is_full() => own.keep_empty(empty),
                // The server is away, which each caller may find out.
                Err(_) => own.release_kept_empty(),
            }
        });
    }

    /// Opens the connections missing to `min_size`, concurrently.
    fn fill_up(&self) {
        let sizes = self.slots.sizes();
        let connections = (sizes.taken + sizes.idle).saturating_sub(self.kept_empty());
        let lacking = self.min_size().saturating_sub(connections);
        for _ in 0..lacking {
            // Never ahead of a waiter.
            let Some(slot) = self.slots.try_take_empty() else {
                return;
            };
            let shared = Arc::clone(&self.shared);
            self.spawn_until_closed(async move {
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

    /// Runs work that no task waits for. It ends [`ABANDONED`] after the begin of a close, which waits for it.
    fn spawn_until_closed(&self, work: impl Future<Output = ()> + Send + 'static) {
        let closing = self.closing.clone();
        self.shared.spawn(async move {
            let over = async {
                closing.cancelled().await;
                tokio::time::sleep(ABANDONED).await;
            };
            tokio::select! {
                () = work => {}
                () = over => {}
            }
        });
    }

    /// The number of connections to keep open, at most the maximum.
    fn min_size(&self) -> usize {
        (self.settings().min_size as usize).min(self.slots.sizes().max)
    }
}
