//! Pool state without the slots. Connections hold this and not the pool, so that no reference cycle keeps a dropped pool
//! alive.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use super::connecting::Connector;
use super::meters::Meters;
use super::outage::Outages;
use super::registry::Registry;
use super::status::Counters;
use crate::backend::Backend;

/// How long a slot is kept after its connection's close, and the pause before a refused connect is retried. A server takes a
/// few milliseconds to end a session.
pub(super) const ROOM_PAUSE: Duration = Duration::from_millis(20);

/// How long a busy server may take to free the room of a closed session.
const ROOM_AFTER_CLOSE: Duration = Duration::from_secs(1);

pub(super) struct Shared<DB: Backend> {
    pub(super) connector: Arc<Connector<DB>>,
    pub(super) registry: Registry,
    pub(super) counters: Counters,
    pub(super) meters: Meters,
    pub(super) outages: Outages,
    /// The runtime that the pool was started on. All tasks of the pool run there.
    pub(super) runtime: Handle,
    /// All running tasks and open connections, for which a close waits.
    pub(super) tasks: TaskTracker,
    generation: AtomicU64,
    created: Instant,
    /// Milliseconds after `created`, plus one, when a connection was last found broken. Connections that were open then are
    /// suspect too.
    broken_at: AtomicU64,
    /// Milliseconds after `created`, plus one, when a connection was last closed.
    closed_at: AtomicU64,
    /// Whether the server answered last time.
    reachable: AtomicBool,
    /// Whether the server has answered, or has failed to, since the pool was started.
    asked: AtomicBool,
    /// Whether the last opening was refused because the server is full, while the pool had a connection.
    full: AtomicBool,
    /// Wakes the keeper: the server seems to be unreachable, or a connection was closed that `min_size` wants.
    pub(super) wake_keeper: Arc<Notify>,
}

impl<DB: Backend> Shared<DB> {
    pub(super) fn new(connector: Arc<Connector<DB>>) -> Self {
        Self {
            meters: Meters::new(&connector.settings),
            registry: Registry::of(connector.settings.held_transactions.clone()),
            connector,
            counters: Counters::default(),
            outages: Outages::default(),
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
            generation: AtomicU64::new(0),
            created: Instant::now(),
            broken_at: AtomicU64::new(0),
            closed_at: AtomicU64::new(0),
            reachable: AtomicBool::new(true),
            asked: AtomicBool::new(false),
            full: AtomicBool::new(false),
            wake_keeper: Arc::default(),
        }
    }

    /// Runs a task on the pool's runtime. On a runtime that is shut down the task is dropped, and what it owns with it.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, &self.runtime);
    }

    /// The number of transactions that an idle connection is in.
    pub(super) fn idle_depth(&self) -> usize {
        self.connector.settings.idle_depth()
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    /// Retires every connection that is open now.
    pub(super) fn next_generation(&self) {
        self.generation.fetch_add(1, Relaxed);
    }

    /// `max_lifetime` with ±10 %, so that connections opened together do not end together.
    pub(super) fn jittered_lifetime(&self) -> Option<Duration> {
        let lifetime = self
            .connector
            .settings
            .max_lifetime
            .filter(|_| !self.connector.in_memory())?;
        Duration::try_from_secs_f64(lifetime.as_secs_f64() * (0.9 + 0.2 * fastrand::f64())).ok()
    }

    /// Whether a connection last known to be good at `good_at` must be validated before use.
    pub(super) fn wants_validation(&self, good_at: Instant, now: Instant) -> bool {
        let validate_after = self.connector.settings.validate_after;
        now.saturating_duration_since(good_at) >= validate_after || self.is_suspect(good_at)
    }

    /// Whether a connection was found broken after this time.
    pub(super) fn is_suspect(&self, good_at: Instant) -> bool {
        self.millis(good_at) < self.broken_at.load(Relaxed)
    }

    /// Notes that a session has ended, with which the server may have gone: the keeper asks at once, and the other connections
    /// are validated before their next use.
    pub(super) fn suspect_all(&self) {
        self.note_answered(false);
        self.validate_all();
    }

    /// Makes the other connections be validated before their next use.
    pub(super) fn validate_all(&self) {
        // Rounded up, so that a connection that became idle in this very millisecond is validated too.
        self.broken_at
            .store(self.millis(Instant::now()) + 1, Relaxed);
    }

    /// Whether the server answered last time.
    pub(super) fn is_reachable(&self) -> bool {
        self.reachable.load(Relaxed)
    }

    /// Whether the server has answered, or has failed to, since the pool was started.
    pub(super) fn was_asked(&self) -> bool {
        self.asked.load(Relaxed)
    }

    /// Notes whether the server has answered.
    pub(super) fn note_answered(&self, good: bool) {
        self.asked.store(true, Relaxed);
        if self.reachable.swap(good, Relaxed) && !good {
            self.wake_keeper.notify_one();
        }
    }

    /// Notes whether an opening was refused because the server is full, while the pool serves with the connections it has.
    pub(super) fn note_full(&self, full: bool) {
        self.full.store(full, Relaxed);
    }

    /// Whether the server had no room for another connection last time.
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Relaxed)
    }

    /// Waits after a close until the server has most likely ended the session. The driver does not wait for that, and the
    /// slot's next connection would be one too many for a full server. A closing pool does not wait.
    pub(super) async fn wait_for_room(&self) {
        if self.connector.dialect().session.is_none() || self.tasks.is_closed() {
            return;
        }
        self.closed_at
            .store(self.millis(Instant::now()) + 1, Relaxed);
        tokio::time::sleep(ROOM_PAUSE).await;
    }

    /// Whether the server may still count a closed session.
    pub(super) fn may_wait_for_room(&self) -> bool {
        let last = self.closed_at.load(Relaxed);
        last > 0 && self.millis(Instant::now()) < last + millis(ROOM_AFTER_CLOSE)
    }

    fn millis(&self, at: Instant) -> u64 {
        millis(at.saturating_duration_since(self.created))
    }
}

fn millis(span: Duration) -> u64 {
    // The maximum is over 500 million years.
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
