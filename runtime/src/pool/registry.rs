//! Who holds which connection, since when, for which statement.

use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use sqlx::SqlStr;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::connecting::SessionId;
use super::meters::{Meters, Use};
use super::spans::{Observer, RunningStatement};
use crate::dialect::{Controls, Dialect, Syntax, short_line, without_literals};
use crate::lock::lock;
use crate::settings;

/// The holder of a connection.
#[derive(Clone, Debug)]
pub(crate) enum Holder {
    /// Code that took a checkout, at this location.
    Code(&'static Location<'static>),
    /// The engine, for a statement that has not begun yet.
    Engine,
    /// A statement that runs on the engine itself.
    Statement(SqlStr, Syntax),
    /// A web request, by its method and route.
    #[cfg(feature = "web")]
    Request(Arc<str>),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The number of shown characters, enough to find a statement or a request by.
        const SHOWN: usize = 80;
        match self {
            Self::Code(location) => {
                write!(
                    f,
                    "the checkout taken at {}:{}",
                    location.file(),
                    location.line()
                )
            }
            Self::Engine => f.write_str("a statement about to run"),
            #[cfg(feature = "web")]
            Self::Request(request) => {
                write!(f, "the request `{}`", short_line(request, SHOWN))
            }
            Self::Statement(sql, syntax) => {
                // It is shown to other tasks, and a literal may be a secret.
                let sql = without_literals(sql.as_str(), *syntax);
                write!(f, "the statement `{}`", short_line(&sql, SHOWN))
            }
        }
    }
}

/// The registry's entry for one connection.
pub(crate) struct Record {
    /// The server's id of the session.
    pub(super) session: Option<SessionId>,
    checkout: Mutex<Option<ActiveCheckout>>,
    /// Whether a statement of this checkout began, or may have begun, a transaction that the driver does not count.
    transaction_control: AtomicBool,
    /// The transaction of this checkout is over: the begin or the end of a savepoint in it was cancelled, or failed. On a checkout
    /// without a transaction of the pool: the begin of sqlx's transaction was.
    over: AtomicBool,
    #[cfg(feature = "testing")]
    pub(super) recorder: super::recording::Recorder,
    /// Observes the statements, for spans and durations.
    observer: Observer,
    /// `None` outside the registry, where nothing is counted.
    meters: Option<Meters>,
    /// The held transactions of a test that rolls back.
    test: Option<Arc<settings::HeldTransactions>>,
    /// The pool's close waits until every connection of the registry is gone.
    _token: Option<TaskTrackerToken>,
}

/// A current checkout.
struct ActiveCheckout {
    since: Instant,
    by: Holder,
    warned: bool,
    /// Whether the task has given the connection back, which is now being recovered or closed.
    returned: bool,
    controls: Controls,
    /// The running statement, if it is observed.
    statement: Option<RunningStatement>,
}

/// A copy of a current checkout, with its session.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) since: Instant,
    pub(super) by: Holder,
    pub(super) session: Option<SessionId>,
}

impl Record {
    pub(super) fn take(&self, since: Instant, by: Holder) {
        *self.lock() = Some(ActiveCheckout {
            since,
            by,
            warned: false,
            returned: false,
            controls: Controls::default(),
            statement: None,
        });
        self.transaction_control.store(false, Relaxed);
        self.over.store(false, Relaxed);
        #[cfg(feature = "testing")]
        self.recorder.no_longer_borrowed();
        self.count(Use::Idle, Use::Used);
    }

    /// Notes the statement that runs now. It becomes the holder if the engine runs it, and is checked for transaction
    /// control.
    pub(crate) fn note(&self, sql: &SqlStr) {
        let dialect = self.dialect();
        let controls = Controls::of(sql.as_str(), dialect.syntax);
        if controls.is_any() {
            // A chained end begins another transaction, on MySQL also outside of any.
            if controls.first_of(dialect.begins_transaction).is_some() || controls.begins_another()
            {
                self.transaction_control.store(true, Relaxed);
            }
            if let Some(test) = &self.test {
                test.note(sql.as_str());
            }
        }
        #[cfg(feature = "testing")]
        self.recorder.note(sql, || self.location());
        // A span calls the program's subscriber, so it is made, and dropped, outside the lock.
        let mut statement = None;
        if self.observer.makes_spans() {
            statement = self.observer.begin(sql.as_str(), Instant::now(), true);
        }
        if let Some(checkout) = &mut *self.lock() {
            checkout.controls.add(controls);
            if statement.is_none() && self.observer.is_on() {
                // A connection for this statement alone was taken just now.
                let begun = match checkout.by {
                    Holder::Engine => checkout.since,
                    _ => Instant::now(),
                };
                statement = self.observer.begin(sql.as_str(), begun, false);
            }
            std::mem::swap(&mut checkout.statement, &mut statement);
            if let by @ (Holder::Engine | Holder::Statement(..)) = &mut checkout.by {
                *by = Holder::Statement(sql.clone(), dialect.syntax);
            }
        }
        // The previous statement, of a stream that was dropped before its end.
        if let Some(statement) = statement {
            self.observer.cancel(&statement);
        }
    }

    /// Notes that the running statement has ended, or failed. Returns the time if the statement is observed.
    pub(super) fn statement_ended(&self, error: Option<&sqlx::Error>) -> Option<Instant> {
        if !self.observer.is_on() {
            return None;
        }
        let statement = self.take_statement()?;
        let now = Instant::now();
        self.observer.end(&statement, error, now);
        Some(now)
    }

    /// Observes the next statement until the returned value is dropped.
    pub(super) fn watch_statement(&self) -> WatchedStatement<'_> {
        WatchedStatement(self.observer.is_on().then_some(self))
    }

    /// Takes the running statement. A separate function, so that the lock is released before the statement is dropped.
    fn take_statement(&self) -> Option<RunningStatement> {
        self.lock().as_mut()?.statement.take()
    }

    /// Ends the running statement, if any, as cancelled.
    fn cancel_statement(&self) {
        if let Some(statement) = self.take_statement() {
            self.observer.cancel(&statement);
        }
    }

    /// The statements of this checkout that may have ended a transaction by themselves.
    pub(super) fn controls(&self) -> Controls {
        self.lock()
            .as_ref()
            .map(|checkout| checkout.controls)
            .unwrap_or_default()
    }

    /// The location of the code that took the checkout.
    #[cfg(feature = "testing")]
    pub(super) fn location(&self) -> Option<&'static Location<'static>> {
        match self.lock().as_ref()?.by {
            Holder::Code(location) => Some(location),
            _ => None,
        }
    }

    pub(crate) fn saw_transaction_control(&self) -> bool {
        self.transaction_control.load(Relaxed)
    }

    pub(super) fn dialect(&self) -> &'static Dialect {
        self.observer.dialect
    }

    /// Whether the transaction of this checkout is over.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    pub(super) fn set_over(&self, over: bool) {
        self.over.store(over, Relaxed);
    }

    /// The record of a connection outside the registry.
    pub(super) fn alone(session: Option<SessionId>, by: Holder, observer: Observer) -> Arc<Self> {
        let record = Arc::new(Self::new(session, None, None, None, observer));
        record.take(Instant::now(), by);
        record
    }

    fn new(
        session: Option<SessionId>,
        meters: Option<Meters>,
        token: Option<TaskTrackerToken>,
        test: Option<Arc<settings::HeldTransactions>>,
        observer: Observer,
    ) -> Self {
        if let Some(meters) = &meters {
            meters.enter(Use::Idle);
        }
        Self {
            session,
            checkout: Mutex::new(None),
            transaction_control: AtomicBool::new(false),
            over: AtomicBool::new(false),
            #[cfg(feature = "testing")]
            recorder: super::recording::Recorder::default(),
            observer,
            meters,
            test,
            _token: token,
        }
    }

    /// Ends the checkout. Returns when it began.
    pub(super) fn put_back(&self, now: Instant) -> Option<Instant> {
        let checkout = self.lock().take();
        if let Some(statement) = checkout
            .as_ref()
            .and_then(|checkout| checkout.statement.as_ref())
        {
            // A statement of a stream that was dropped before its end.
            self.observer.cancel(statement);
        }
        let since = checkout?.since;
        if let Some(meters) = &self.meters {
            meters.used(now.saturating_duration_since(since));
            self.count(Use::Used, Use::Idle);
        }
        Some(since)
    }

    fn count(&self, from: Use, to: Use) {
        if let Some(meters) = &self.meters {
            meters.leave(from);
            meters.enter(to);
        }
    }

    /// Notes that the task has given the connection back, which is not ready for the next one.
    pub(super) fn returned(&self) {
        if let Some(checkout) = &mut *self.lock() {
            checkout.returned = true;
        }
    }

    fn is_taken(&self) -> bool {
        self.lock().is_some()
    }

    fn taken(&self) -> Option<Taken> {
        let checkout = self.lock();
        let held = checkout.as_ref().filter(|checkout| !checkout.returned)?;
        Some(self.copy(held))
    }

    fn copy(&self, checkout: &ActiveCheckout) -> Taken {
        Taken {
            since: checkout.since,
            by: checkout.by.clone(),
            session: self.session.clone(),
        }
    }

    /// The checkout, if it has lasted for this time or longer. Returned once for each checkout.
    pub(super) fn leak(&self, longer_than: Duration) -> Option<Taken> {
        let mut checkout = self.lock();
        let checkout = checkout.as_mut()?;
        if checkout.warned || checkout.returned || checkout.since.elapsed() < longer_than {
            return None;
        }
        checkout.warned = true;
        Some(self.copy(checkout))
    }

    fn lock(&self) -> MutexGuard<'_, Option<ActiveCheckout>> {
        lock(&self.checkout)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.cancel_statement();
        let since = self.lock().as_ref().map(|checkout| checkout.since);
        let Some(meters) = &self.meters else {
            return;
        };
        match since {
            // A connection that is closed at its return.
            Some(since) => {
                meters.used(since.elapsed());
                meters.leave(Use::Used);
            }
            None => meters.leave(Use::Idle),
        }
    }
}

/// Ends an observed statement as cancelled when its future is dropped before its end.
pub(super) struct WatchedStatement<'a>(Option<&'a Record>);

impl WatchedStatement<'_> {
    /// Ends the statement, with its error if it failed. Returns the time if the statement is observed.
    pub(super) fn end(mut self, error: Option<&sqlx::Error>) -> Option<Instant> {
        self.0.take()?.statement_ended(error)
    }
}

impl Drop for WatchedStatement<'_> {
    fn drop(&mut self) {
        if let Some(record) = self.0 {
            record.cancel_statement();
        }
    }
}

/// The records of all open connections, idle or in use.
#[derive(Default)]
pub(super) struct Registry {
    records: Mutex<Vec<Weak<Record>>>,
    /// The held transactions of a test that rolls back.
    test: Option<Arc<settings::HeldTransactions>>,
}

impl Registry {
    /// An empty registry, with the held transactions of a test that rolls back.
    pub(super) fn of(test: Option<Arc<settings::HeldTransactions>>) -> Self {
        Self {
            test,
            ..Self::default()
        }
    }

    pub(super) fn add(
        &self,
        session: Option<SessionId>,
        meters: &Meters,
        token: TaskTrackerToken,
        observer: Observer,
    ) -> Arc<Record> {
        let record = Arc::new(Record::new(
            session,
            Some(meters.clone()),
            Some(token),
            self.test.clone(),
            observer,
        ));
        let mut records = lock(&self.records);
        records.retain(|record| record.strong_count() > 0);
        records.push(Arc::downgrade(&record));
        record
    }

    pub(super) fn records(&self) -> Vec<Arc<Record>> {
        let records = lock(&self.records);
        records.iter().filter_map(Weak::upgrade).collect()
    }

    /// The number of connections in use, or being recovered or closed after a use.
    pub(super) fn in_use(&self) -> usize {
        let records = self.records();
        records.iter().filter(|record| record.is_taken()).count()
    }

    /// The checkouts that tasks hold now, the longest held first.
    pub(super) fn taken(&self) -> Vec<Taken> {
        let mut taken: Vec<Taken> = self
            .records()
            .iter()
            .filter_map(|record| record.taken())
            .collect();
        taken.sort_by_key(|taken| taken.since);
        taken
    }

    pub(super) fn open(&self) -> usize {
        self.records().len()
    }
}
