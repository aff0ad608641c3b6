//! Waiting for a checkout.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::Span;

use super::checked_out::CheckedOut;
use super::connection::{Connection, SlotOf};
use super::handle::Own;
use super::recovery::RECOVERY_LIMIT;
use super::registry::Holder;
use super::shared::Shared;
use super::slots::{Refused, Taking};
use super::spans;
use crate::backend::Backend;
use crate::dialect::Diagnosis;
use crate::error::{AcquireError, whole_millis};

impl<DB: Backend> Own<DB> {
    /// Takes a connection, waiting for one up to `acquire_timeout`.
    pub(super) async fn checkout(&self, holder: Holder) -> Result<CheckedOut<DB>, AcquireError> {
        let begun = Instant::now();
        // A deadline beyond the range of `Instant` is no deadline.
        let deadline = begun.checked_add(self.settings().acquire_timeout);
        let mut taking = self.slots.take(deadline);
        let first = poll_fn(|context| Poll::Ready(Pin::new(&mut taking).poll(context))).await;
        let (taken, wait, now) = match first {
            Poll::Ready(taken) => (taken, None, begun),
            Poll::Pending => {
                let wait = self.wait(begun);
                let taken = self.rest_of(taking, deadline).await;
                (taken, Some(wait), Instant::now())
            }
        };
        let is_fresh = |slot: &SlotOf<DB>| {
            let connection = slot.value.as_ref();
            connection.is_some_and(|connection| connection.is_fresh(now))
        };
        let taken = match taken {
            Ok(slot) if !is_fresh(&slot) => {
                let wait = wait.unwrap_or_else(|| self.wait(begun));
                // Boxed: the future that opens a connection is large, and would enlarge every other checkout.
                let slot = Box::pin(self.ready(slot, wait, deadline)).await?;
                return Ok(CheckedOut::of_pool(slot, holder, Instant::now()));
            }
            taken => taken,
        };
        if let Some(wait) = wait {
            wait.over(now);
        }
        match taken {
            Ok(slot) => Ok(CheckedOut::of_pool(slot, holder, now)),
            Err(Refused::Closed) => Err(AcquireError::closed(self.settings())),
            Err(Refused::TimedOut) => Err(self.timed_out(None)),
        }
    }

    /// Takes a connection that is idle and known to be good, if there is one.
    pub(super) fn try_checkout(&self, holder: Holder) -> Option<CheckedOut<DB>> {
        let now = Instant::now();
        let mut found = false;
        let taken = self.slots.take_idle(|connection| {
            let take = !found && connection.is_fresh(now);
            found |= take;
            take
        });
        let slot = taken.into_iter().next()?;
        self.shared.counters.taken_idle.fetch_add(1, Relaxed);
        Some(CheckedOut::of_pool(slot, holder, now))
    }

    /// Begins the wait of a checkout.
    fn wait(&self, begun: Instant) -> Wait<'_, DB> {
        self.shared.counters.acquired_empty.fetch_add(1, Relaxed);
        Wait::begin(&self.shared, begun)
    }

    /// Waits for a slot until the pool's timer ends the wait. On another runtime than the pool's it also sets a timer of its
    /// own, because the pool's runtime may stand still.
    async fn rest_of(
        &self,
        taking: Taking<'_, Box<Connection<DB>>>,
        deadline: Option<Instant>,
    ) -> Result<SlotOf<DB>, Refused> {
        let is_elsewhere =
            Handle::try_current().is_ok_and(|runtime| runtime.id() != self.shared.runtime.id());
        match deadline {
            Some(deadline) if is_elsewhere => {
                let left = deadline.saturating_duration_since(Instant::now());
                let taken = Box::pin(tokio::time::timeout(left, taking)).await;
                taken.unwrap_or(Err(Refused::TimedOut))
            }
            _ => taking.await,
        }
    }

    /// Makes the slot's connection ready, or that of another slot, up to the deadline.
    async fn ready(
        &self,
        slot: SlotOf<DB>,
        wait: Wait<'_, DB>,
        deadline: Option<Instant>,
    ) -> Result<SlotOf<DB>, AcquireError> {
        let counters = &self.shared.counters;
        let begun = Instant::now();
        // The slots have counted this take as a checkout. `unready` is subtracted until the connection is ready.
        counters.unready.fetch_add(1, Relaxed);
        // The last connect error, for a timeout while the server cannot be reached.
        let mut cause = None;
        let attempts = self.attempts(slot, deadline, &mut cause);
        let result = match deadline {
            // Outside a runtime there is no timer. The connect's own limit holds, in the pool's task.
            Some(deadline) if Handle::try_current().is_ok() => {
                let left = deadline.saturating_duration_since(Instant::now());
                tokio::time::timeout(left, attempts).await.ok()
            }
            _ => Some(attempts.await),
        };
        wait.over(Instant::now());
        let slot = result.unwrap_or_else(|| {
            // A slot that came late left the server no time to answer in.
            let enough = RECOVERY_LIMIT.min(self.settings().acquire_timeout / 2);
            Err(if begun.elapsed() >= enough {
                self.server_timed_out(cause)
            } else {
                self.timed_out(cause)
            })
        })?;
        counters.unready.fetch_sub(1, Relaxed);
        Ok(slot)
    }

    async fn attempts(
        &self,
        mut slot: SlotOf<DB>,
        deadline: Option<Instant>,
        cause: &mut Option<(Diagnosis, sqlx::Error)>,
    ) -> Result<SlotOf<DB>, AcquireError> {
        let mut backoff = None;
        loop {
            match self.make_ready(slot).await {
                Ok(ready) => {
                    if !self.shared.is_full() {
                        self.release_one_kept_empty();
                    }
                    return Ok(ready);
                }
                Err(_) if self.closing.is_cancelled() => {
                    return Err(AcquireError::closed(self.settings()));
                }
                Err((error, empty)) => {
                    let diagnosis = self.shared.connector.dialect().diagnosis(&error);
                    if !diagnosis.retry || Handle::try_current().is_err() {
                        return Err(AcquireError::connect(self.settings(), &diagnosis, error));
                    }
                    let is_full = diagnosis.full && self.shared.is_full();
                    *cause = Some((diagnosis, error));
                    match empty {
                        // The caller waits in the queue, for the connections that there are.
                        Some(empty) if is_full => self.keep_empty(empty),
                        empty => {
                            drop(empty);
                            // A close ends the pause, and the next wait for a slot reports the close.
                            let pause = backoff.get_or_insert_with(acquire_backoff).next();
                            let pause = tokio::time::sleep(pause.unwrap_or(ACQUIRE_BACKOFF_MAX));
                            self.closing.run_until_cancelled(pause).await;
                        }
                    }
                }
            }
            slot = match self.slots.take(deadline).await {
                Ok(slot) => slot,
                Err(Refused::Closed) => return Err(AcquireError::closed(self.settings())),
                Err(Refused::TimedOut) => return Err(self.timed_out(cause.take())),
            };
            // The slots count every take, but this one is for the same checkout.
            self.shared.counters.unready.fetch_add(1, Relaxed);
            let now = Instant::now();
            if slot
                .value
                .as_ref()
                .is_some_and(|connection| connection.is_fresh(now))
            {
                return Ok(slot);
            }
        }
    }

    /// The error for `acquire_timeout` of a caller that waits for a slot: the last connect error if any, else the longest
    /// current holder.
    fn timed_out(&self, cause: Option<(Diagnosis, sqlx::Error)>) -> AcquireError {
        let readying = self.shared.counters.readying.load(Relaxed);
        // All slots are those of others who wait for the server.
        if cause.is_some() || readying >= self.slots.sizes().max as u64 {
            return self.server_timed_out(cause);
        }
        self.count_timeout();
        let longest = self.shared.registry.taken().into_iter().next();
        let longest = longest.map(|taken| (taken.by, taken.since.elapsed()));
        let mut status = self.status();
        // The waiter that timed out has just left the queue.
        status.waiting += 1;
        AcquireError::timed_out(self.settings(), &status, longest)
    }

    /// The error for `acquire_timeout` of a caller that has a slot, and waits for the server.
    fn server_timed_out(&self, cause: Option<(Diagnosis, sqlx::Error)>) -> AcquireError {
        self.count_timeout();
        match cause {
            Some((diagnosis, error)) => AcquireError::connect(self.settings(), &diagnosis, error),
            None => AcquireError::no_answer_in_time(self.settings()),
        }
    }

    fn count_timeout(&self) {
        self.shared.counters.timed_out.fetch_add(1, Relaxed);
        self.shared.meters.timed_out();
    }

    /// Makes the slot ready in a task of the pool. If the caller's future is dropped, the slot is returned once it is ready.
    ///
    /// # Errors
    ///
    /// Why no connection could be opened, with the empty slot, unless the pool is closed.
    async fn make_ready(
        &self,
        slot: SlotOf<DB>,
    ) -> Result<SlotOf<DB>, (sqlx::Error, Option<SlotOf<DB>>)> {
        let (ready, outcome) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        self.shared.spawn(async move {
            // A close is sure to wait only for tasks that existed when it began. This one began later and opens nothing.
            if shared.tasks.is_closed() {
                return drop(slot);
            }
            // Without a receiver, `send` returns the slot, and its drop gives it back.
            if let Err(Ok(slot)) = ready.send(shared.try_ready(slot).await) {
                drop(slot);
                // The caller would have released a slot for which the server had no room.
                shared.wake_keeper.notify_one();
            }
        });
        // `Slots::close` wakes only callers that wait for a slot. This wakes those that wait for its connection.
        match self.closing.run_until_cancelled(outcome).await {
            Some(Ok(Ok(slot))) => Ok(slot),
            Some(Ok(Err((error, empty)))) => Err((error, Some(empty))),
            Some(Err(_)) | None => Err((sqlx::Error::WorkerCrashed, None)),
        }
    }
}

/// The longest pause between two connection attempts for one waiting task.
const ACQUIRE_BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Growing pauses from 20 ms with jitter. 20 ms is short enough for a restarting server; the jitter keeps waiters from
/// retrying at the same moment.
fn acquire_backoff() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(20))
        .with_max_delay(ACQUIRE_BACKOFF_MAX)
        .with_jitter()
        .without_max_times()
        .build()
}

/// Counts one wait and its time, also when its future is dropped.
struct Wait<'a, DB: Backend> {
    shared: &'a Shared<DB>,
    begun: Instant,
    over: bool,
    _span: Span,
}

/// Waits of at least this time are logged, as in sqlx's pool: the pool is too small, or a checkout is held for too long.
const SLOW_ACQUIRE: Duration = Duration::from_secs(2);

impl<'a, DB: Backend> Wait<'a, DB> {
    fn begin(shared: &'a Shared<DB>, begun: Instant) -> Self {
        shared.meters.wait_begins();
        let settings = &shared.connector.settings;
        Self {
            shared,
            begun,
            over: false,
            _span: spans::wait(settings.query_spans, &settings.engine),
        }
    }

    fn over(mut self, now: Instant) {
        self.count(now);
        self.over = true;
    }

    fn count(&self, now: Instant) {
        let waited = now.saturating_duration_since(self.begun);
        self.shared.meters.wait_ends(waited);
        let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        self.shared.counters.waited_nanos.fetch_add(nanos, Relaxed);
        // A server that is away has log lines of its own, and there may be many waits.
        if waited >= SLOW_ACQUIRE && self.shared.is_reachable() {
            crate::logging::warn!(
                engine = %self.shared.connector.settings.engine,
                "a checkout waited for {}; see Engine::status for who is using the pool",
                whole_millis(waited),
            );
        }
    }
}

impl<DB: Backend> Drop for Wait<'_, DB> {
    fn drop(&mut self) {
        if !self.over {
            self.shared.counters.cancelled.fetch_add(1, Relaxed);
            self.count(Instant::now());
        }
    }
}
