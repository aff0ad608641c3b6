//! Statistics of a pool.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counters since the pool was started. Relaxed, because each is read alone, for display. Each wait writes some of them, so they
/// share no cache line with what every checkout reads.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Counters {
    /// Slots given out for checkouts that are not ready, or failed.
    pub(super) unready: AtomicU64,
    /// Checkouts of connections that were taken out of the idle queue, which the slots do not count.
    pub(super) taken_idle: AtomicU64,
    pub(super) acquired_empty: AtomicU64,
    /// Slots whose connections are being opened or validated now.
    pub(super) readying: AtomicU64,
    pub(super) cancelled: AtomicU64,
    pub(super) timed_out: AtomicU64,
    pub(super) waited_nanos: AtomicU64,
    pub(super) opened: AtomicU64,
    pub(super) closed_lifetime: AtomicU64,
    pub(super) closed_idle: AtomicU64,
    pub(super) broken: AtomicU64,
}

/// Counts one thing that goes on, until it is dropped.
pub(super) struct Ongoing<'a>(&'a AtomicU64);

impl<'a> Ongoing<'a> {
    pub(super) fn begin(counter: &'a AtomicU64) -> Self {
        counter.fetch_add(1, Relaxed);
        Self(counter)
    }
}

impl Drop for Ongoing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A pool at one moment: its size now, and its counts since the start.
///
/// The counts are those of pgx's [`Stat`](https://pkg.go.dev/github.com/jackc/pgx/v5/pgxpool#Stat).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Most connections at one time (`max_size`).
    pub max: usize,
    /// Connections open now: idle, in use, or being opened, validated or closed.
    pub size: usize,
    /// Connections open and ready for a checkout.
    pub idle: usize,
    /// Connections checked out, or being recovered after a checkout.
    pub in_use: usize,
    /// Tasks waiting for a checkout.
    pub waiting: usize,
    /// Checkouts given out.
    pub acquired: u64,
    /// Checkouts that had to wait for a slot, an opening or a ping.
    pub acquired_empty: u64,
    /// Waits that ended because the waiting future was dropped.
    pub cancelled: u64,
    /// Waits that ended at `acquire_timeout`.
    pub timed_out: u64,
    /// The total time spent waiting for checkouts.
    pub wait_time: Duration,
    /// Connections opened.
    pub opened: u64,
    /// Connections closed because `max_lifetime` was over or because they were evicted.
    pub closed_lifetime: u64,
    /// Connections closed because they were idle for `idle_timeout`.
    pub closed_idle: u64,
    /// Connections that failed a check or could not be recovered.
    pub broken: u64,
}

impl Counters {
    pub(super) fn fill(&self, status: &mut Status) {
        status.acquired = status.acquired.saturating_sub(self.unready.load(Relaxed))
            + self.taken_idle.load(Relaxed);
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
