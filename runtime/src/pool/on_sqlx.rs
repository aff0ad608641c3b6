//! The pool's interface over a `sqlx::Pool`, for functions that take one.
//!
//! One engine has one pool, so that `max_size` holds: when a function asks for a `sqlx::Pool`, the engine runs on it too.
//! What sqlx's pool lacks (validation by age, recovery off the caller's path, locations of holders) is not added here. Its
//! close gets the same limit.

use std::io;
use std::iter;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::{self, join_all};
use sqlx::ConnectOptions;
use sqlx::pool::{PoolConnection, PoolOptions};
use tokio::runtime::{Builder, Handle};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::checked_out::CheckedOut;
use super::connecting::{Connector, SessionId, open_anchor, open_with_retries, with_retries};
use super::recovery::RECOVERY_LIMIT;
use super::registry::Holder;
use super::report::{CloseOutcome, EndedHolder};
use super::status::Status;
use super::within::within;
use crate::backend::Backend;
use crate::background;
use crate::error::{AcquireError, StartError};
use crate::lock::lock;
use crate::logging::with_callers_subscriber;
use crate::settings::EngineSettings;

pub(crate) struct OnSqlx<DB: Backend> {
    pool: sqlx::Pool<DB>,
    connector: Arc<Connector<DB>>,
    /// Sessions that the pool has opened, without those that the server no longer had when last asked.
    sessions: Arc<Mutex<Vec<SessionId>>>,
    /// Connections opened before this are retired.
    opened_before: Arc<Mutex<Option<Instant>>>,
    /// Keeps an in-memory SQLite database alive while the pool has no connection.
    anchor: Mutex<Option<DB::Connection>>,
    /// Permits to wait for sqlx's pool.
    turns: Arc<Semaphore>,
    /// The runtime that the pool was started on, for checkouts outside any.
    runtime: Handle,
}

/// Forgets ended sessions. sqlx does not report which connections it has closed, so the server is asked which of these
/// sessions it still has, once there are eight more than twice `max_size`.
async fn forget_ended<DB: Backend>(
    connection: &mut DB::Connection,
    connector: &Connector<DB>,
    sessions: &Mutex<Vec<SessionId>>,
) -> sqlx::Result<()> {
    let session = connector.dialect().session.as_ref();
    let Some(living) = session.and_then(|session| session.living) else {
        return Ok(());
    };
    let known = lock(sessions).clone();
    if known.len() < 2 * connector.settings.max_size as usize + 8 {
        return Ok(());
    }
    let ids: Vec<&str> = known.iter().map(|session| &*session.id).collect();
    let living = DB::text_of(connection, living(&ids.join(", "))).await?;
    let is_ended = |session: &SessionId| !living.split(' ').any(|id| id == &*session.id);
    lock(sessions).retain(|session| !(known.contains(session) && is_ended(session)));
    Ok(())
}

impl<DB: Backend> OnSqlx<DB> {
    pub(super) async fn start(connector: Arc<Connector<DB>>) -> Result<Self, StartError> {
        let settings = Arc::clone(&connector.settings);
        let sessions = Arc::new(Mutex::new(Vec::new()));
        let opened_before = Arc::new(Mutex::new(None::<Instant>));
        let in_memory = connector.in_memory();
        let options = PoolOptions::<DB>::new()
            .max_connections(settings.max_size)
            // A test that rolls back has one connection, and gets no other one in its place.
            .min_connections(match settings.held_transactions {
                Some(_) => 0,
                None => settings.min_size,
            })
            .acquire_timeout(settings.acquire_timeout)
            .idle_timeout(settings.idle_timeout.filter(|_| !in_memory))
            .max_lifetime(settings.max_lifetime.filter(|_| !in_memory))
            .before_acquire({
                let opened_before = Arc::clone(&opened_before);
                move |_, connection| {
                    let limit = *lock(&opened_before);
                    let good = limit.is_none_or(|limit| connection.age < limit.elapsed());
                    Box::pin(async move { Ok(good) })
                }
            })
            .after_connect({
                let sessions = Arc::clone(&sessions);
                let connector = Arc::clone(&connector);
                move |connection, _| {
                    let connector = Arc::clone(&connector);
                    let sessions = Arc::clone(&sessions);
                    Box::pin(async move {
                        let prepared = async {
                            // Before `session`, which may set what the sign of a pooler is.
                            if let Some(session) = connector.identify_session(connection, 0).await? {
                                forget_ended::<DB>(connection, &connector, &sessions).await?;
                                lock(&sessions).push(session);
                            }
                            connector.run_session(connection, true).await?;
                            connector.check_lease().await?;
                            connector.replaces_held();
                            connector.begin_held_transaction(connection).await
                        };
                        // sqlx logs the error.
                        prepared.await.map_err(|error| connector.conceal(error))
                    })
                }
            });
        let begun = Instant::now();
        let anchor = open_anchor(&connector).await?;
        if !settings.lazy && anchor.is_none() && settings.held_transactions.is_none() {
            // While a server is not ready, sqlx's pool retries by itself, for `acquire_timeout`, and does not report the cause.
            let first = open_with_retries(&connector).await?;
            first.close().await;
        }
        let pool = options.connect_lazy_with(connector.options().clone());
        let attempts = TaskTracker::new();
        let mut unfinished = CloseIfDropped(Some((pool.clone(), attempts.clone())));
        if !settings.lazy
            && let Err(error) = open_first(&pool, &connector, &attempts, begun).await
        {
            // An attempt that a silent server holds up is closed in the background.
            let _ = timeout(RECOVERY_LIMIT, pool.close()).await;
            return Err(error);
        }
        unfinished.0 = None;
        Ok(Self {
            pool,
            sessions,
            opened_before,
            anchor: Mutex::new(anchor),
            turns: Arc::new(Semaphore::new(settings.max_size as usize)),
            runtime: Handle::current(),
            connector,
        })
    }

    pub(super) fn pool(&self) -> &sqlx::Pool<DB> {
        &self.pool
    }

    pub(super) async fn checkout(&self, holder: Holder) -> Result<CheckedOut<DB>, AcquireError> {
        let settings = &self.connector.settings;
        let acquired = if Handle::try_current().is_ok() {
            let acquired = timeout(settings.acquire_timeout, self.acquire(holder)).await;
            acquired.unwrap_or(Err(sqlx::Error::PoolTimedOut))
        } else {
            // There is no timer for the wait for a turn.
            self.acquire(holder).await
        };
        acquired.map_err(|error| match error {
            sqlx::Error::PoolClosed => AcquireError::closed(settings),
            sqlx::Error::PoolTimedOut => {
                AcquireError::timed_out(settings, &self.status(settings), None::<(Holder, _)>)
            }
            error => {
                let error = self.connector.conceal(error);
                let diagnosis = self.connector.dialect().diagnosis(&error);
                AcquireError::connect(settings, &diagnosis, error)
            }
        })
    }

    /// As `acquire` of sqlx, which checks and opens connections in the caller's future, and drops them without a close message
    /// when that one is dropped. So it runs in a task of its own. The connection of a caller who has gone away returns to the
    /// pool, or is given up after `connect_timeout`.
    ///
    /// The task is one of the pool's runtime: a socket ends with the runtime on which it was opened.
    ///
    /// Callers wait for a turn first, so that no more than `max_size` of those who have gone away are still in sqlx's queue.
    async fn acquire(&self, holder: Holder) -> sqlx::Result<CheckedOut<DB>> {
        let turn = Arc::clone(&self.turns).acquire_owned();
        let turn = self.pool.close_event().do_until(turn).await?;
        let (pool, connector) = (self.pool.clone(), Arc::clone(&self.connector));
        let runtime = self.runtime.clone();
        let acquire = {
            let runtime = runtime.clone();
            async move {
                // sqlx does not see a close while it opens a connection.
                let closed = async {
                    pool.close_event().await;
                    sleep(RECOVERY_LIMIT).await;
                };
                let acquired = tokio::select! {
                    acquired = pool.acquire() => acquired,
                    () = closed => Err(sqlx::Error::PoolClosed),
                };
                drop(turn);
                acquired
                    .map(|connection| CheckedOut::of_sqlx(connection, holder, &connector, runtime))
            }
        };
        let limit = self.connector.settings.connect_timeout;
        let acquire = with_callers_subscriber(acquire.in_current_span());
        let acquired = background::finish(&runtime, limit, acquire).await;
        acquired.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    /// Takes an idle connection, if there is one.
    pub(super) fn try_checkout(&self, holder: Holder) -> Option<CheckedOut<DB>> {
        let connection = self.pool.try_acquire()?;
        let runtime = self.runtime.clone();
        Some(CheckedOut::of_sqlx(
            connection,
            holder,
            &self.connector,
            runtime,
        ))
    }

    /// Retires every open connection; the `before_acquire` check closes each at its next checkout.
    pub(super) fn evict(&self) {
        *lock(&self.opened_before) = Some(Instant::now());
    }

    pub(super) fn status(&self, settings: &EngineSettings) -> Status {
        let size = self.pool.size() as usize;
        let idle = self.num_idle();
        Status {
            max: settings.max_size as usize,
            size,
            idle,
            in_use: size.saturating_sub(idle),
            ..Status::default()
        }
    }

    /// The number of idle connections. sqlx counts one that returns after others can take it, so that its own number may wrap
    /// around below zero for a moment.
    fn num_idle(&self) -> usize {
        let most = self.connector.settings.max_size as usize;
        Some(self.pool.num_idle())
            .filter(|idle| *idle <= most)
            .unwrap_or(0)
    }

    /// Whether every connection is in use.
    pub(super) fn is_exhausted(&self) -> bool {
        self.pool.size() >= self.connector.settings.max_size && self.num_idle() == 0
    }

    pub(super) async fn close(&self, limit: Duration, force: &CancellationToken) -> CloseOutcome {
        let begun = Instant::now();
        let mut last = None;
        // The close first, so that it begins even when `force` is already cancelled.
        let drained = tokio::select! {
            biased;
            result = timeout(limit, self.close_in_order(&mut last)) => result.is_ok(),
            () = force.cancelled() => false,
        };
        let anchor = lock(&self.anchor).take();
        if let Some(anchor) = anchor {
            self.connector.close(anchor).await;
        }
        if drained {
            return (Vec::new(), None);
        }
        // Connections that come back later are closed too, and `last` after them.
        let (pool, connector) = (self.pool.clone(), Arc::clone(&self.connector));
        tokio::spawn(async move {
            pool.close().await;
            if let Some(last) = last {
                connector.close(last).await;
            }
        });
        // sqlx does not report the holders of its connections.
        let out = (self.pool.size() as usize).saturating_sub(self.num_idle());
        let ended = (0..out)
            .map(|_| EndedHolder {
                holder: "a connection of the `sqlx::Pool`".to_owned(),
                held: begun.elapsed(),
                session: None,
            })
            .collect();
        let sessions = lock(&self.sessions).clone();
        let unreachable = self.connector.terminate_at_close(sessions).await;
        (ended, unreachable)
    }

    /// Refuses further checkouts, and waits until every connection has returned and is closed. Where the last connection does
    /// work for the database, one is closed after all others. It is left in `last` when this is given up.
    async fn close_in_order(&self, last: &mut Option<DB::Connection>) {
        if self.connector.settings.held_transactions.is_some() && self.pool.size() > 0 {
            // The one connection may still be returning, in a task of sqlx. It is acquired to check whether it is still
            // held.
            if let Ok(last) = self.pool.acquire().await {
                self.connector.close(last.detach()).await;
            }
        }
        let mut idle = self.take_idle();
        let any_in_use = self.pool.size() > 0;
        let is_file =
            !self.connector.in_memory() && self.connector.settings.held_transactions.is_none();
        // The call itself refuses further checkouts. sqlx closes each connection in the task that returns it, and would close
        // the idle ones only after all others have returned, and one after another.
        let close = self.pool.close();
        *last = if !self.connector.dialect().closes_in_turn {
            None
        } else if let Some(idle) = idle.pop() {
            Some(idle)
        } else if any_in_use && is_file {
            self.connector.options().connect().await.ok()
        } else {
            None
        };
        let closings = idle.into_iter().map(|idle| self.connector.close(idle));
        future::join(close, join_all(closings)).await;
        if let Some(last) = last.take() {
            self.connector.close(last).await;
        }
    }

    /// Takes the idle connections out of the pool.
    fn take_idle(&self) -> Vec<DB::Connection> {
        iter::from_fn(|| self.pool.try_acquire())
            .map(PoolConnection::detach)
            .collect()
    }
}

impl<DB: Backend> Drop for OnSqlx<DB> {
    /// For a pool that is dropped without a close, as its runtime ends: closes the idle connections and refuses further
    /// checkouts, also through a clone of the `sqlx::Pool`.
    fn drop(&mut self) {
        let idle = self.take_idle();
        // The call itself refuses further checkouts. The dropped future would only wait for connections in use.
        drop(self.pool.close());
        for connection in idle {
            let connector = Arc::clone(&self.connector);
            background::spawn(async move {
                connector.close(connection).await;
            });
        }
        if self.pool.size() > 0 {
            close_returning(self.pool.clone());
        }
    }
}

/// Closes the connections that other threads of a runtime return while it ends: sqlx looks whether its pool is closed before
/// it validates a returned connection, and keeps the connection as idle after that.
fn close_returning<DB: Backend>(pool: sqlx::Pool<DB>) {
    let close = move || {
        if let Ok(runtime) = Builder::new_current_thread().enable_time().build() {
            let _ = runtime.block_on(async { timeout(RECOVERY_LIMIT, pool.close()).await });
        }
    };
    // Without a thread, such a connection ends with the last handle on the pool.
    let _ = thread::Builder::new().spawn(close);
}

/// The least time for the first connections of a server that has just answered.
const FIRST_LIMIT: Duration = Duration::from_secs(1);

/// Opens `min_size` connections, at least one, in what is left of `start_timeout`.
async fn open_first<DB: Backend>(
    pool: &sqlx::Pool<DB>,
    connector: &Arc<Connector<DB>>,
    attempts: &TaskTracker,
    begun: Instant,
) -> Result<(), StartError> {
    let settings = &connector.settings;
    let wanted = match settings.held_transactions {
        Some(_) => 1,
        None => settings.min_size.min(settings.max_size).max(1),
    };
    let attempt = || {
        // In a task of its own, because an interrupted opening would leave a half-open session on the server.
        let pool = pool.clone();
        let limit = settings.connect_timeout;
        let attempt = attempts.spawn(with_callers_subscriber(
            async move { within(limit, "connect_timeout", pool.acquire()).await }.in_current_span(),
        ));
        async move {
            let attempt = attempt.await;
            match attempt.unwrap_or(Err(sqlx::Error::WorkerCrashed)) {
                Ok(connection) => Ok(connection),
                Err(error) => Err(cause_of(error, connector).await),
            }
        }
    };
    let left = settings.start_timeout.saturating_sub(begun.elapsed());
    // They are held until all are open, so that none is opened in place of another.
    let opened = (0..wanted).map(|_| with_retries(connector, left.max(FIRST_LIMIT), attempt));
    future::try_join_all(opened).await.map(drop)
}

/// Why no connection was opened. sqlx's pool tries again by itself, for example while the server is full, and its error at the
/// limit has no cause. So a connection is opened past it.
async fn cause_of<DB: Backend>(error: sqlx::Error, connector: &Arc<Connector<DB>>) -> sqlx::Error {
    let is_limit = match &error {
        sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Io(error) => error.kind() == io::ErrorKind::TimedOut,
        _ => false,
    };
    if !is_limit || connector.settings.held_transactions.is_some() {
        return connector.conceal(error);
    }
    match connector.connect_to_the_end().await {
        Ok(opened) => {
            opened.close().await;
            let message = "the pool opened no connection in time";
            sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, message))
        }
        Err(cause) => cause,
    }
}

/// Closes the pool of a cancelled start after its connection attempts have ended: sqlx's own drop sends no close message.
struct CloseIfDropped<DB: Backend>(Option<(sqlx::Pool<DB>, TaskTracker)>);

impl<DB: Backend> Drop for CloseIfDropped<DB> {
    fn drop(&mut self) {
        if let Some((pool, attempts)) = self.0.take() {
            background::spawn(async move {
                attempts.close();
                attempts.wait().await;
                // sqlx may be opening connections by itself, with a limit of minutes.
                let _ = timeout(RECOVERY_LIMIT, pool.close()).await;
            });
        }
    }
}
