//! Where connections are opened, checked, mended and seen off: everything that a task of the pool needs, without the
//! queue itself, so that a connection can point here and no cycle keeps a forgotten pool alive.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use super::connector::{Connector, Opened};
use super::meters::Meters;
use super::place::{Filled, Held, Place, give_up};
use super::status::{Counters, Register};
use crate::backend::Backend;

/// How long checking or mending one connection may take before it counts as broken.
///
/// A round trip to a server that is there takes milliseconds; two seconds leave room for a slow rollback.
const MEND_LIMIT: Duration = Duration::from_secs(2);

pub(super) struct Yard<DB: Backend> {
    pub(super) connector: Arc<Connector<DB>>,
    pub(super) register: Register,
    pub(super) counters: Counters,
    pub(super) meters: Meters,
    /// The runtime that the pool was started on. Its tasks run there, from whichever thread they are ordered.
    runtime: Handle,
    /// Every task under way and every connection that is open: what a close waits for.
    pub(super) tasks: TaskTracker,
    generation: AtomicU64,
    birth: Instant,
    /// Milliseconds after `birth` when a connection was last found broken. Whoever was idle then is suspect too.
    broken_at: AtomicU64,
    /// Whether the last that was heard of the server was good.
    reachable: AtomicBool,
    /// Wakes the keeper when it is not.
    pub(super) lost: Arc<Notify>,
}

impl<DB: Backend> Yard<DB> {
    pub(super) fn new(connector: Arc<Connector<DB>>) -> Self {
        Self {
            meters: Meters::new(&connector.settings),
            connector,
            register: Register::default(),
            counters: Counters::default(),
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
            generation: AtomicU64::new(0),
            birth: Instant::now(),
            broken_at: AtomicU64::new(0),
            reachable: AtomicBool::new(true),
            lost: Arc::default(),
        }
    }

    /// Runs a task on the pool's runtime. On a runtime that is shut down the task is dropped, and what it owns with it.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, &self.runtime);
    }

    /// How many transactions a connection is in while nobody uses it.
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
        Some(lifetime.mul_f64(0.9 + 0.2 * fastrand::f64()))
    }

    /// Whether a connection that was last known to be good at `idle_since` is to be pinged before use.
    pub(super) fn wants_validation(&self, idle_since: Instant, now: Instant) -> bool {
        let validate_after = self.connector.settings.validate_after;
        now.saturating_duration_since(idle_since) >= validate_after
            || self.millis(idle_since) < self.broken_at.load(Relaxed)
    }

    /// Notes that a connection was found broken: the next users of the others ask first.
    pub(super) fn suspect_all(&self) {
        self.heard(false);
        // Rounded up, so that one which became idle in this very millisecond is asked too.
        self.broken_at
            .store(self.millis(Instant::now()) + 1, Relaxed);
    }

    /// Whether the last that was heard of the server was good.
    pub(super) fn is_reachable(&self) -> bool {
        self.reachable.load(Relaxed)
    }

    /// Notes what was last heard of the server.
    fn heard(&self, good: bool) {
        if self.reachable.swap(good, Relaxed) && !good {
            self.lost.notify_one();
        }
    }

    fn millis(&self, at: Instant) -> u64 {
        // Over 500 million years.
        u64::try_from(at.saturating_duration_since(self.birth).as_millis()).unwrap_or(u64::MAX)
    }

    /// Makes a place ready for use: checks the connection in it, replaces a retired or broken one, fills an empty one.
    ///
    /// # Errors
    ///
    /// Why no connection could be opened. The place is given up.
    pub(super) async fn make_ready(self: &Arc<Self>, mut held: Held<DB>) -> sqlx::Result<Held<DB>> {
        if let Some(filled) = held.0.take() {
            held.0 = self.check(filled).await;
            if held.0.is_some() {
                return Ok(held);
            }
        }
        match self.open().await {
            Ok(filled) => {
                held.0 = Some(filled);
                Ok(held)
            }
            Err(error) => {
                give_up(held);
                Err(error)
            }
        }
    }

    /// Opens a connection for a place that the caller holds.
    pub(super) async fn open(self: &Arc<Self>) -> sqlx::Result<Box<Filled<DB>>> {
        let begun = Instant::now();
        let opened = self.connector.connect().await;
        self.heard(opened.is_ok());
        let opened = opened?;
        self.meters.created(begun.elapsed());
        Ok(Box::new(self.opened(opened)))
    }

    /// Counts a connection that was opened for a place.
    pub(super) fn opened(self: &Arc<Self>, opened: Opened<DB>) -> Filled<DB> {
        self.counters.opened.fetch_add(1, Relaxed);
        Filled::new(opened, self)
    }

    /// Pings an idle connection; closes it when it is retired or does not answer.
    async fn check(&self, mut filled: Box<Filled<DB>>) -> Option<Box<Filled<DB>>> {
        if filled.is_retired(Instant::now()) {
            self.counters.closed_lifetime.fetch_add(1, Relaxed);
            filled.close().await;
            return None;
        }
        match tokio::time::timeout(MEND_LIMIT, self.connector.check(filled.connection_mut())).await
        {
            Ok(Ok(true)) => {
                self.heard(true);
                filled.idle_since = Instant::now();
                Some(filled)
            }
            broken => {
                self.discard(filled, broken.err().map(|_| MEND_LIMIT)).await;
                None
            }
        }
    }

    /// Puts back a place whose connection is good, unless its time is over.
    pub(super) fn put_back(mut held: Held<DB>) {
        let now = Instant::now();
        let filled = held.filled_mut();
        if filled.is_retired(now) {
            let counters = &filled.yard().counters;
            counters.closed_lifetime.fetch_add(1, Relaxed);
            return Self::take_back_closed(held);
        }
        filled.rest(now);
        // Dropping it is putting it back.
        drop(held);
    }

    /// Takes back a place whose connection is in an unknown state: mends it, or closes it. Holds the place meanwhile.
    pub(super) fn take_back_unverified(mut held: Held<DB>, counts_ended: bool) {
        // Out of the place before the task: if the runtime is gone and drops the task, nothing unverified goes back.
        let Some(mut filled) = held.0.take() else {
            return give_up(held);
        };
        let yard = Arc::clone(filled.yard());
        Arc::clone(&yard).spawn(async move {
            // Not worth mending.
            if filled.is_retired(Instant::now()) {
                yard.counters.closed_lifetime.fetch_add(1, Relaxed);
                filled.close().await;
                return give_up(held);
            }
            let mending = yard.mend(filled.connection_mut(), counts_ended);
            match tokio::time::timeout(MEND_LIMIT, mending).await {
                Ok(Ok(true)) => {
                    held.0 = Some(filled);
                    Self::put_back(held);
                }
                broken => {
                    yard.discard(filled, broken.err().map(|_| MEND_LIMIT)).await;
                    give_up(held);
                }
            }
        });
    }

    /// Makes a connection good again; false when it is not what is wanted any more.
    async fn mend(
        &self,
        connection: &mut DB::Connection,
        counts_ended: bool,
    ) -> sqlx::Result<bool> {
        let pooled = self.connector.settings.pooler.is_some();
        super::mend::mend::<DB>(connection, self.idle_depth(), pooled, counts_ended).await?;
        Ok(!self.connector.hosts.asks() || self.connector.check(connection).await?)
    }

    /// Takes back a place whose connection is broken or retired.
    pub(super) fn take_back_closed(mut held: Held<DB>) {
        let Some(filled) = held.0.take() else {
            return give_up(held);
        };
        let yard = Arc::clone(filled.yard());
        yard.spawn(async move {
            filled.close().await;
            give_up(held);
        });
    }

    /// Closes a connection that failed. One that gave no answer may still be at work for us on the server, so it is
    /// ended there.
    async fn discard(&self, filled: Box<Filled<DB>>, silent_for: Option<Duration>) {
        self.counters.broken.fetch_add(1, Relaxed);
        self.suspect_all();
        let session = filled.card.session.clone();
        if let (Some(limit), Some(session)) = (silent_for, session) {
            tracing::warn!(
                engine = %self.connector.settings.engine,
                session = &*session.id,
                "a connection gave no answer within {limit:?}; its session is ended on the server"
            );
            if let Err(error) = self
                .connector
                .end_sessions(std::slice::from_ref(&session))
                .await
            {
                tracing::warn!(engine = %self.connector.settings.engine, session = &*session.id, %error, "the session could not be ended");
            }
        }
        filled.close().await;
    }
}

impl<DB: Backend> Place<DB> {
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.0.as_ref().is_some_and(|filled| filled.is_fresh(now))
    }
}
