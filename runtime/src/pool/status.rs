//! Numbers and holders, for people.

use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use sqlx::SqlStr;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::hosts::SessionId;
use super::meters::{Meters, Use};
use crate::dialect::{Controls, begins_transaction};

/// Who has a connection.
#[derive(Clone, Debug)]
pub(crate) enum Holder {
    /// Code that took a checkout, at this place.
    Code(&'static Location<'static>),
    /// The engine, for a statement that has not begun yet.
    Engine,
    /// A statement that runs on the engine itself.
    Statement(SqlStr),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Enough of a statement to find it by.
        const SHOWN: usize = 80;
        match self {
            Self::Code(place) => {
                write!(f, "the checkout taken at {}:{}", place.file(), place.line())
            }
            Self::Engine => f.write_str("a statement about to run"),
            Self::Statement(sql) => {
                let words: Vec<&str> = sql.as_str().split_whitespace().collect();
                let sql = words.join(" ");
                match sql.char_indices().nth(SHOWN) {
                    Some((end, _)) => write!(f, "the statement `{}…`", &sql[..end]),
                    None => write!(f, "the statement `{sql}`"),
                }
            }
        }
    }
}

/// What the register knows of one connection.
pub(crate) struct Card {
    /// The server's id of the session.
    pub(super) session: Option<SessionId>,
    hold: Mutex<Option<Hold>>,
    /// Whether a statement of this checkout began or may have begun a transaction behind the driver's back.
    transaction_control: AtomicBool,
    #[cfg(feature = "testing")]
    pub(super) recorder: super::recording::Recorder,
    /// `None` outside the register, where nothing is counted.
    meters: Option<Meters>,
    /// The pool's close waits for every connection of the register to be gone.
    _token: Option<TaskTrackerToken>,
}

/// A checkout that is out.
struct Hold {
    since: Instant,
    by: Holder,
    warned: bool,
    controls: Controls,
}

/// A checkout that is out, and its session, as it is told.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) since: Instant,
    pub(super) by: Holder,
    pub(super) session: Option<SessionId>,
}

impl Card {
    pub(super) fn take(&self, since: Instant, by: Holder) {
        *self.lock() = Some(Hold {
            since,
            by,
            warned: false,
            controls: Controls::default(),
        });
        self.transaction_control.store(false, Relaxed);
        self.count(Use::Idle, Use::Used);
    }

    /// Notes the statement that runs now: it names the holder where the engine runs it, and tells transaction control.
    pub(crate) fn note(&self, sql: &SqlStr) {
        if begins_transaction(sql.as_str()) {
            self.transaction_control.store(true, Relaxed);
        }
        #[cfg(feature = "testing")]
        self.recorder.note(sql, self.place());
        let mut hold = self.lock();
        let Some(hold) = &mut *hold else {
            return;
        };
        hold.controls.note(sql.as_str());
        if let by @ (Holder::Engine | Holder::Statement(_)) = &mut hold.by {
            *by = Holder::Statement(sql.clone());
        }
    }

    /// Where the code is that took the checkout.
    #[cfg(feature = "testing")]
    pub(super) fn place(&self) -> Option<&'static Location<'static>> {
        match *self.lock() {
            Some(Hold { by: Holder::Code(place), .. }) => Some(place),
            _ => None,
        }
    }

    /// Which statements of this checkout may have ended a transaction by themselves.
    pub(super) fn controls(&self) -> Controls {
        self.lock()
            .as_ref()
            .map(|hold| hold.controls)
            .unwrap_or_default()
    }

    pub(crate) fn saw_transaction_control(&self) -> bool {
        self.transaction_control.load(Relaxed)
    }

    /// The card of a connection outside the register.
    pub(super) fn alone(by: Holder) -> Arc<Self> {
        let card = Arc::new(Self::new(None, None, None));
        card.take(Instant::now(), by);
        card
    }

    fn new(
        session: Option<SessionId>,
        meters: Option<Meters>,
        token: Option<TaskTrackerToken>,
    ) -> Self {
        if let Some(meters) = &meters {
            meters.enter(Use::Idle);
        }
        Self {
            session,
            hold: Mutex::new(None),
            transaction_control: AtomicBool::new(false),
            #[cfg(feature = "testing")]
            recorder: super::recording::Recorder::default(),
            meters,
            _token: token,
        }
    }

    pub(super) fn put_back(&self, now: Instant) {
        let hold = self.lock().take();
        if let (Some(hold), Some(meters)) = (hold, &self.meters) {
            meters.used(now.saturating_duration_since(hold.since));
            self.count(Use::Used, Use::Idle);
        }
    }

    fn count(&self, from: Use, to: Use) {
        if let Some(meters) = &self.meters {
            meters.leave(from);
            meters.enter(to);
        }
    }

    fn taken(&self) -> Option<Taken> {
        self.lock().as_ref().map(|hold| self.tell(hold))
    }

    fn tell(&self, hold: &Hold) -> Taken {
        Taken {
            since: hold.since,
            by: hold.by.clone(),
            session: self.session.clone(),
        }
    }

    /// Who has held the connection for longer than this, told once a checkout.
    pub(super) fn leak(&self, longer_than: Duration) -> Option<Taken> {
        let mut hold = self.lock();
        let hold = hold.as_mut()?;
        if hold.warned || hold.since.elapsed() < longer_than {
            return None;
        }
        hold.warned = true;
        Some(self.tell(hold))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Hold>> {
        // Nothing panics while the lock is held.
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        let state = if self.lock().is_some() {
            Use::Used
        } else {
            Use::Idle
        };
        if let Some(meters) = &self.meters {
            meters.leave(state);
        }
    }
}

/// Every connection that is open, wherever it is.
#[derive(Default)]
pub(super) struct Register(Mutex<Vec<Weak<Card>>>);

impl Register {
    pub(super) fn add(
        &self,
        session: Option<SessionId>,
        meters: &Meters,
        token: TaskTrackerToken,
    ) -> Arc<Card> {
        let card = Arc::new(Card::new(session, Some(meters.clone()), Some(token)));
        let mut cards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cards.retain(|card| card.strong_count() > 0);
        cards.push(Arc::downgrade(&card));
        card
    }

    pub(super) fn cards(&self) -> Vec<Arc<Card>> {
        let cards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cards.iter().filter_map(Weak::upgrade).collect()
    }

    /// The checkouts out now, the longest held first.
    pub(super) fn taken(&self) -> Vec<Taken> {
        let mut taken: Vec<Taken> = self
            .cards()
            .iter()
            .filter_map(|card| card.taken())
            .collect();
        taken.sort_by_key(|taken| taken.since);
        taken
    }

    pub(super) fn open(&self) -> usize {
        self.cards().len()
    }
}

/// Counts since the pool was started. Relaxed: each is read alone, by people.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) acquired: AtomicU64,
    pub(super) acquired_empty: AtomicU64,
    pub(super) cancelled: AtomicU64,
    pub(super) timed_out: AtomicU64,
    pub(super) waited_nanos: AtomicU64,
    pub(super) opened: AtomicU64,
    pub(super) closed_lifetime: AtomicU64,
    pub(super) closed_idle: AtomicU64,
    pub(super) broken: AtomicU64,
}

/// A pool at one moment: its size now, and its counts since the start.
///
/// The counts are those of pgx's [`Stat`](https://pkg.go.dev/github.com/jackc/pgx/v5/pgxpool#Stat).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Most connections at one time (`max_size`).
    pub max: usize,
    /// Connections open now, idle or in use.
    pub size: usize,
    /// Connections open and ready for a checkout.
    pub idle: usize,
    /// Connections checked out, or being mended after a checkout.
    pub in_use: usize,
    /// Tasks waiting for a checkout.
    pub waiting: usize,
    /// Checkouts given out.
    pub acquired: u64,
    /// Checkouts that had to wait for a place, an opening or a ping.
    pub acquired_empty: u64,
    /// Waits that ended because the waiting future was dropped.
    pub cancelled: u64,
    /// Waits that ended at `acquire_timeout`.
    pub timed_out: u64,
    /// All the time spent waiting for checkouts.
    pub wait_time: Duration,
    /// Connections opened.
    pub opened: u64,
    /// Connections closed because `max_lifetime` was over or because they were evicted.
    pub closed_lifetime: u64,
    /// Connections closed because they were idle for `idle_timeout`.
    pub closed_idle: u64,
    /// Connections that failed a check or could not be mended.
    pub broken: u64,
}

impl Counters {
    pub(super) fn fill(&self, status: &mut Status) {
        status.acquired = self.acquired.load(Relaxed);
        status.acquired_empty = self.acquired_empty.load(Relaxed);
        status.cancelled = self.cancelled.load(Relaxed);
        status.timed_out = self.timed_out.load(Relaxed);
        status.wait_time = Duration::from_nanos(self.waited_nanos.load(Relaxed));
        status.opened = self.opened.load(Relaxed);
        status.closed_lifetime = self.closed_lifetime.load(Relaxed);
        status.closed_idle = self.closed_idle.load(Relaxed);
        status.broken = self.broken.load(Relaxed);
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            max,
            idle,
            in_use,
            waiting,
            ..
        } = self;
        write!(
            f,
            "{in_use} in use, {idle} idle, {waiting} waiting, at most {max}"
        )
    }
}
