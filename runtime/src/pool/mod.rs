//! The engine's pool: places, and the connections that fill them.
//!
//! | file | what it holds |
//! |---|---|
//! | `place` | a place, the connection in it, and what the pool knows of that connection |
//! | `checkout` | a connection in the hands of a task, and its way back |
//! | `mend` | what happens to a connection whose state is not known |
//! | `connector`, `hosts`, `credentials` | opening a connection, to which host and as whom, and ending one on the server |
//! | `start`, `keeper`, `close` | the pool's own life |
//! | `status`, `meters` | numbers and holders, for people and for `metrics` |
//! | `on_sqlx` | the same face over a `sqlx::Pool` |
//!
//! # Ownership rules
//!
//! 1. `deadpool` hands out *places*. A place stands for one session on the server, so there are never more sessions
//!    than places: whoever opens, mends or closes a connection holds its place meanwhile.
//! 2. Work that must not stop half-way (a handshake, a mend, a goodbye) runs in a task of the pool that owns the place.
//!    A caller only waits for it, and may go away at any await point without harm.
//! 3. A connection goes back into the queue in `Drop`, at once, when it is known to be idle and outside any transaction.
//!    Otherwise it is mended first, or closed.
//! 4. A connection never ends without a goodbye to the server, unless the server is gone or does not answer in time.

mod checkout;
mod close;
mod connector;
mod credentials;
mod hosts;
mod keeper;
mod lent;
mod mend;
mod meters;
mod on_sqlx;
mod place;
#[cfg(feature = "testing")]
mod recording;
mod start;
mod status;
mod yard;

use std::num::NonZeroU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub use self::checkout::Checkout;
pub use self::close::{CloseReport, EndedHolder, Left};
pub(crate) use self::connector::Connector;
#[cfg(feature = "postgres")]
pub(crate) use self::lent::{Asked, Lent};
use self::on_sqlx::OnSqlx;
use self::place::{Held, Places, give_up};
#[cfg(feature = "testing")]
pub(crate) use self::recording::Recording;
#[cfg(feature = "testing")]
pub use self::recording::{End, Statement};
pub(crate) use self::start::open_direct;
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(crate) use self::start::open_for;
pub use self::status::Status;
pub(crate) use self::status::{Card, Holder};
use self::yard::Yard;
use crate::backend::{Backend, Diagnosis};
use crate::error::AcquireError;
use crate::settings::EngineSettings;

/// A started pool. Cheap to clone.
pub(crate) struct Pool<DB: Backend>(Arc<Inner<DB>>);

struct Inner<DB: Backend> {
    flavour: Flavour<DB>,
    settings: Arc<EngineSettings>,
}

/// What the pool stands on: places of its own, or a `sqlx::Pool` where the function asks for one.
enum Flavour<DB: Backend> {
    Own(Own<DB>),
    Sqlx(OnSqlx<DB>),
}

struct Own<DB: Backend> {
    places: deadpool::managed::Pool<Places<DB>>,
    yard: Arc<Yard<DB>>,
    /// Set when the close begins.
    closing: CancellationToken,
    /// Keeps an in-memory SQLite database alive while no place is filled.
    anchor: Mutex<Option<DB::Connection>>,
}

impl<DB: Backend> Clone for Pool<DB> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<DB: Backend> Pool<DB> {
    /// Takes a connection if one is there: its place is free and it is fresh. No timer, no task, no wait.
    pub(crate) fn checkout_at_once(&self, holder: Holder) -> Option<Checkout<DB>> {
        let Flavour::Own(own) = &self.0.flavour else {
            return None;
        };
        let now = Instant::now();
        let held = own.place_at_once()?;
        if held.is_fresh(now) {
            return Some(own.hand_out(held, holder, now));
        }
        if held.0.is_none() {
            // It was made for this look; the queue holds filled places only.
            give_up(held);
        }
        None
    }

    /// Takes a connection, waiting for one up to `acquire_timeout`.
    ///
    /// # Errors
    ///
    /// Why there was none: the pool is closed, all places are taken (by whom), or the server cannot be reached.
    ///
    /// # Cancellation
    ///
    /// The future may be dropped at any await point; a connection that is being opened for it then goes to the next one.
    pub(crate) async fn checkout(&self, holder: Holder) -> Result<Checkout<DB>, AcquireError> {
        match &self.0.flavour {
            Flavour::Own(own) => own.checkout(holder).await,
            // Boxed: it has room for opening a connection, which those who wait for our own places are not to carry along.
            Flavour::Sqlx(pool) => Box::pin(pool.checkout(holder)).await,
        }
    }

    /// The pool at this moment.
    pub(crate) fn status(&self) -> Status {
        match &self.0.flavour {
            Flavour::Own(own) => own.status(),
            Flavour::Sqlx(pool) => pool.status(&self.0.settings),
        }
    }

    /// Changes the most connections at one time; false on a `sqlx::Pool`, which cannot. Idle connections above the new
    /// size are closed now, those in use at their return.
    pub(crate) fn resize(&self, max_size: NonZeroU32) -> bool {
        let Flavour::Own(own) = &self.0.flavour else {
            return false;
        };
        own.places.resize(max_size.get() as usize);
        own.yard.meters.resized(max_size.get());
        true
    }

    /// Retires every connection that is open now: the idle ones at once, those in use at their return.
    pub(crate) fn evict(&self) {
        match &self.0.flavour {
            Flavour::Own(own) => {
                own.yard.next_generation();
                own.retire_idle();
            }
            Flavour::Sqlx(pool) => pool.evict(),
        }
    }

    /// Whether the last that was heard of the server was good. The keeper asks again soon when it was not.
    pub(crate) fn is_reachable(&self) -> bool {
        match &self.0.flavour {
            Flavour::Own(own) => own.yard.is_reachable(),
            Flavour::Sqlx(_) => true,
        }
    }

    /// Takes the server for gone until it answers the keeper.
    pub(crate) fn seek(&self) {
        if let Flavour::Own(own) = &self.0.flavour {
            own.yard.suspect_all();
        }
    }

    /// The `sqlx::Pool` that this pool stands on, if it does.
    pub(crate) fn as_sqlx(&self) -> Option<&sqlx::Pool<DB>> {
        match &self.0.flavour {
            Flavour::Own(_) => None,
            Flavour::Sqlx(pool) => Some(pool.pool()),
        }
    }
}

impl<DB: Backend> Own<DB> {
    /// A place, if nobody has it and nobody waits for it. It may be empty.
    fn place_at_once(&self) -> Option<Held<DB>> {
        let at_once = deadpool::managed::Timeouts {
            wait: Some(Duration::ZERO),
            ..Default::default()
        };
        // With no time to wait it is ready when it is polled for the first time.
        self.places.timeout_get(&at_once).now_or_never()?.ok()
    }

    fn hand_out(&self, held: Held<DB>, holder: Holder, now: Instant) -> Checkout<DB> {
        self.yard.counters.acquired.fetch_add(1, Relaxed);
        Checkout::of_pool(held, holder, now)
    }

    async fn checkout(&self, holder: Holder) -> Result<Checkout<DB>, AcquireError> {
        self.yard.counters.acquired_empty.fetch_add(1, Relaxed);
        let begun = Instant::now();
        let wait = Wait::begin(&self.yard, begun);
        let held = self.wait(begun).await;
        wait.over();
        Ok(self.hand_out(held?, holder, Instant::now()))
    }

    /// Waits for a place and for its connection to be ready, up to `acquire_timeout`.
    async fn wait(&self, begun: Instant) -> Result<Held<DB>, AcquireError> {
        let limit = self.settings().acquire_timeout;
        // The last connect error, for the case that time runs out while the server cannot be reached.
        let mut cause = None;
        let attempt = async {
            let mut backoff = None;
            loop {
                let place = self.places.get().await;
                let held = place.map_err(|_| AcquireError::closed(self.settings()))?;
                if held.is_fresh(Instant::now()) {
                    return Ok(held);
                }
                match self.make_ready(held).await {
                    Ok(held) => return Ok(held),
                    Err(_) if self.closing.is_cancelled() => {
                        return Err(AcquireError::closed(self.settings()));
                    }
                    Err(error) => {
                        let diagnosis = self.yard.connector.dialect().diagnosis(&error);
                        if !diagnosis.retry {
                            return Err(AcquireError::connect(self.settings(), &diagnosis, error));
                        }
                        cause = Some((diagnosis, error));
                    }
                }
                // A close is heard at once: by the next wait for a place.
                let pause = backoff.get_or_insert_with(acquire_backoff).next();
                let pause = tokio::time::sleep(pause.unwrap_or(ACQUIRE_BACKOFF_MAX));
                self.closing.run_until_cancelled(pause).await;
            }
        };
        let result = tokio::time::timeout_at((begun + limit).into(), attempt).await;
        result.unwrap_or_else(|_| Err(self.timed_out(cause)))
    }

    /// The error at the end of `acquire_timeout`: the server's trouble if there was any, or who has the connections.
    fn timed_out(&self, cause: Option<(Diagnosis, sqlx::Error)>) -> AcquireError {
        self.yard.counters.timed_out.fetch_add(1, Relaxed);
        self.yard.meters.timed_out();
        if let Some((diagnosis, error)) = cause {
            return AcquireError::connect(self.settings(), &diagnosis, error);
        }
        let longest = self.yard.register.taken().into_iter().next();
        let longest = longest.map(|taken| (taken.by, taken.since.elapsed()));
        let mut status = self.status();
        // The one whose time is up has just left the queue.
        status.waiting += 1;
        AcquireError::timed_out(self.settings(), &status, longest)
    }

    /// Lets a task of the pool make the place ready; if the caller goes away, the place goes back when it is.
    async fn make_ready(&self, held: Held<DB>) -> sqlx::Result<Held<DB>> {
        let (ready, outcome) = oneshot::channel();
        let yard = Arc::clone(&self.yard);
        self.yard.spawn(async move {
            // A close waits for the tasks that were there when it began; this one came too late and opens nothing.
            if yard.tasks.is_closed() {
                return give_up(held);
            }
            // A receiver that is gone hands the place back to us, and dropping it is putting it back.
            let _ = ready.send(yard.make_ready(held).await);
        });
        // The places tell a close to those who wait for one; this tells those who wait for its connection.
        let outcome = self.closing.run_until_cancelled(outcome).await;
        outcome
            .and_then(Result::ok)
            .unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    fn settings(&self) -> &Arc<EngineSettings> {
        &self.yard.connector.settings
    }

    fn status(&self) -> Status {
        let places = self.places.status();
        let taken = self.yard.register.taken().len();
        let size = self.yard.register.open();
        let mut status = Status {
            max: places.max_size,
            size,
            idle: size.saturating_sub(taken),
            in_use: taken,
            waiting: places.waiting,
            ..Status::default()
        };
        self.yard.counters.fill(&mut status);
        status
    }
}

/// The longest pause between two attempts to reach a failing server on behalf of one waiting task.
const ACQUIRE_BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Pauses that grow from 20 ms, quick enough for a restarting server, with jitter so that waiters do not march in step.
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
    yard: &'a Yard<DB>,
    begun: Instant,
    over: bool,
}

/// A wait longer than this is worth a word, as in sqlx's pool: the pool is too small, or someone holds on for too long.
const SLOW_ACQUIRE: Duration = Duration::from_secs(2);

impl<'a, DB: Backend> Wait<'a, DB> {
    fn begin(yard: &'a Yard<DB>, begun: Instant) -> Self {
        yard.meters.wait_begins();
        Self {
            yard,
            begun,
            over: false,
        }
    }

    fn over(mut self) {
        self.over = true;
    }
}

impl<DB: Backend> Drop for Wait<'_, DB> {
    fn drop(&mut self) {
        let waited = self.begun.elapsed();
        self.yard.meters.wait_ends(waited);
        let counters = &self.yard.counters;
        let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        counters.waited_nanos.fetch_add(nanos, Relaxed);
        if !self.over {
            counters.cancelled.fetch_add(1, Relaxed);
        }
        if waited >= SLOW_ACQUIRE {
            tracing::warn!(
                engine = %self.yard.connector.settings.engine,
                "a checkout waited for {}; see Engine::status for who is using the pool",
                humantime::format_duration(keeper::whole_millis(waited)),
            );
        }
    }
}
