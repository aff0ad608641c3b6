//! The connection that this process keeps to a server, which holds the locks of all leases.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use futures_core::future::BoxFuture;
use sqlx::{AssertSqlSafe, Connection};
use tokio::sync::OwnedMutexGuard;
use tokio::time::{sleep, timeout};

use super::kind::{ConnectionOf, Found, Identity, Kind, is_of_template, template_lock};
use crate::backend::{Backend, Executes};
use crate::dialect::{Diagnosis, diagnosed};
use crate::error::{Error, TestError, TestKind};
use crate::lock::lock;
use crate::pool::{Connector, open_for};
use crate::settings::EngineSettings;
use crate::testing::url;

/// How long the sessions of a database may take to end after their clients have closed them.
pub(super) const QUIET_LIMIT: Duration = Duration::from_secs(5);

/// How long the server may take to answer a ping.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// An answer that is not older than this makes a ping unnecessary. Statements that follow fail if the connection has ended;
/// a check that must notice a restart of the server pings anew (`holds`).
const FRESH: Duration = Duration::from_millis(5);

/// One idle worker is kept for this many connections of the user: other processes need connections too.
const FOR_A_WORKER: usize = 32;

/// How long closing a connection may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// The connection, opened at its first use, and again after it broke.
pub(in crate::testing) struct ServerSession<K: Kind> {
    settings: EngineSettings,
    open: Arc<tokio::sync::Mutex<Option<Open<K>>>>,
    /// The locks that this process holds. The server alone would grant them to the same session once more.
    held: Mutex<BTreeSet<String>>,
    /// Connections for work that takes long, while they are idle, and since when.
    workers: Mutex<Vec<(ConnectionOf<K>, Instant)>>,
    /// How many of them are kept.
    most_workers: AtomicUsize,
}

struct Open<K: Kind> {
    connection: ConnectionOf<K>,
    /// The database of the connection.
    database: String,
    identity: Identity,
    /// When the server last answered.
    answered: Instant,
    broken: bool,
}

/// The connection while one task uses it.
pub(in crate::testing) struct InUse<'a, K: Kind> {
    session: &'a ServerSession<K>,
    open: OwnedMutexGuard<Option<Open<K>>>,
}

/// The settings of this process's own connections, which are not a test's.
pub(in crate::testing) fn settings_for_leases(settings: &EngineSettings) -> EngineSettings {
    let mut settings = settings.clone();
    settings.session = None;
    settings.borrowed = None;
    settings.lease = None;
    settings.application_name = Some("poolhouse".to_owned());
    settings
}

/// Fails when the session of a connection is not known, because a pooler has been detected. Its other clients would use the
/// session too, so that a lock would not show who has a database, and databases in use would be dropped.
pub(in crate::testing) fn check_session(
    settings: &EngineSettings,
    is_known: bool,
) -> Result<(), TestError> {
    if is_known {
        return Ok(());
    }
    let what = "a pooler is between here and the server, and the locks of tests need sessions that no other client uses";
    let cure = "Set direct_url to the URL past the pooler";
    Err(TestError::new(settings, TestKind::Url, what, cure))
}

/// Opens a connection to a database of the server; fails when another kind of server answers.
pub(in crate::testing) async fn open<DB: Backend>(
    settings: &EngineSettings,
    database: &str,
) -> Result<DB::Connection, Error> {
    let mut settings = settings.clone();
    settings.url = url::of_database(&settings, database)?;
    let connector = Arc::new(Connector::<DB>::new(settings)?);
    let opened = open_for(&connector).await?;
    check_session(&connector.settings, opened.session.is_some())?;
    let connection = opened.take();
    let Some(dialect) = connector.other_dialect() else {
        return Ok(connection);
    };
    let what = format!(
        "{} answers, which is tested on in another way",
        dialect.name
    );
    let cure = format!("Begin the url with {}://", dialect.schemes[0]);
    Err(TestError::new(&connector.settings, TestKind::Url, what, cure).into())
}

impl<K: Kind> ServerSession<K> {
    pub(super) fn new(settings: &EngineSettings) -> Self {
        let mut settings = settings_for_leases(settings);
        settings.session = Some(K::SESSION.to_owned());
        Self {
            settings,
            open: Arc::default(),
            held: Mutex::default(),
            workers: Mutex::default(),
            most_workers: AtomicUsize::new(1),
        }
    }

    /// Takes the connection that holds the locks, once other tasks have finished with it.
    pub(in crate::testing) async fn take(&self) -> Result<InUse<'_, K>, Error> {
        self.take_answered_within(FRESH).await
    }

    /// Takes the connection if it has answered within this time or answers now, else a new one.
    async fn take_answered_within(&self, time: Duration) -> Result<InUse<'_, K>, Error> {
        let mut open = Arc::clone(&self.open).lock_owned().await;
        // A restart of the server since the last use is no error.
        let is_alive = match &mut *open {
            Some(open) if open.broken => false,
            Some(open) if open.answered.elapsed() < time => true,
            Some(open) => {
                let answer = timeout(ANSWER_LIMIT, open.connection.ping()).await;
                open.answered = Instant::now();
                matches!(answer, Ok(Ok(())))
            }
            None => false,
        };
        if !is_alive {
            *open = None;
            *open = Some(self.open().await?);
        }
        Ok(InUse {
            session: self,
            open,
        })
    }

    async fn open(&self) -> Result<Open<K>, Error> {
        let (mut connection, database) = K::open(&self.settings).await?;
        let identity = K::identity(&mut connection).await?;
        let most = usize::try_from(identity.max_connections).unwrap_or(usize::MAX) / FOR_A_WORKER;
        let tests = available_parallelism().map_or(1, usize::from);
        self.most_workers.store(most.clamp(1, tests), Relaxed);
        // After a broken connection, this process takes its locks again, except those that another process has taken first.
        // A template that was being made may have been made by another process, which has given its lock back.
        let held: Vec<String> = {
            let mut held = lock(&self.held);
            held.retain(|key| !is_of_template(key));
            held.iter().cloned().collect()
        };
        if !held.is_empty() {
            let locked = K::lock(&mut connection, &held, held.len()).await?;
            lock(&self.held).retain(|held| locked.contains(held));
        }
        Ok(Open {
            connection,
            database,
            identity,
            answered: Instant::now(),
            broken: false,
        })
    }

    /// The identity of the server that the session is on.
    pub(in crate::testing) async fn identity(&self) -> Result<Identity, Error> {
        Ok(self.take().await?.open().identity.clone())
    }

    /// Whether this process still has a lock that it took in this incarnation of the server.
    pub(super) async fn holds(&self, key: &str, incarnation: &str) -> Result<bool, Error> {
        let mut session = self.take_answered_within(Duration::ZERO).await?;
        Ok(session.incarnation() == incarnation && lock(&self.held).contains(key))
    }

    /// Whether this process still has a lock. The session that took it may have ended, and another process may have taken it.
    pub(super) async fn has(&self, key: &str) -> Result<bool, Error> {
        Ok(self.take().await?.has(key))
    }

    /// Fails when this process has lost the lock on the template that it is making, because another process may be making it
    /// by now.
    pub(in crate::testing) async fn still_makes(&self, fingerprint: &str) -> Result<(), Error> {
        if self.has(&template_lock(fingerprint)).await? {
            return Ok(());
        }
        Err(diagnosed(
            "the connection that held the lock on the template has ended".to_owned(),
            Diagnosis::retry("the template was not made", "run the test again"),
        )
        .into())
    }

    /// Drops a template that could not be made.
    pub(in crate::testing) async fn drop_unmade(&self, fingerprint: &str, database: &str) {
        let dropped = async {
            self.still_makes(fingerprint).await?;
            self.drop_only(database).await
        };
        if let Err(error) = dropped.await {
            tracing::debug!(%error, database, "a template that could not be made is left");
        }
    }

    /// Opens a connection of this process's own to a database.
    pub(in crate::testing) async fn connect(
        &self,
        database: &str,
    ) -> Result<ConnectionOf<K>, Error> {
        open::<K::DB>(&self.settings, database).await
    }

    /// Takes a worker connection, for work that takes long.
    pub(in crate::testing) async fn worker(&self) -> Result<ConnectionOf<K>, Error> {
        let idle = lock(&self.workers).pop();
        if let Some((mut worker, since)) = idle
            && (since.elapsed() < FRESH
                || matches!(timeout(ANSWER_LIMIT, worker.ping()).await, Ok(Ok(()))))
        {
            return Ok(worker);
        }
        let database = self.take().await?.open().database.clone();
        self.connect(&database).await
    }

    /// Keeps a connection for the next work: one for each test that runs at a time, if the server has enough connections.
    pub(in crate::testing) async fn put_back(&self, worker: ConnectionOf<K>) {
        let most = self.most_workers.load(Relaxed);
        let surplus = {
            let mut workers = lock(&self.workers);
            workers.push((worker, Instant::now()));
            (workers.len() > most).then(|| workers.remove(0))
        };
        if let Some((surplus, _)) = surplus {
            close::<K>(surplus).await;
        }
    }

    /// Closes the idle connections for work that takes long, but for one.
    pub(super) async fn close_workers(&self) {
        let surplus: Vec<_> = {
            let mut workers = lock(&self.workers);
            let surplus = workers.len().saturating_sub(1);
            workers.drain(..surplus).collect()
        };
        for (surplus, _) in surplus {
            close::<K>(surplus).await;
        }
    }

    /// Drops a database, and releases its lock.
    pub(in crate::testing) async fn drop_database(
        &self,
        database: &str,
        lock: &str,
    ) -> Result<(), Error> {
        if !self.has(lock).await? {
            tracing::debug!(
                database,
                "not dropped, because another process may have it by now"
            );
            return Ok(());
        }
        let dropped = self.drop_only(database).await;
        // If the drop failed, the next run removes the database.
        self.take().await?.unlock(&[lock.to_owned()]).await?;
        dropped
    }

    /// Drops a database, and keeps its lock.
    pub(in crate::testing) async fn drop_only(&self, database: &str) -> Result<(), Error> {
        let mut worker = self.worker().await?;
        if let Err(error) = K::drop(&mut worker, database).await {
            if !K::may_be_in_use(&error) || self.end_prepared(database).await == 0 {
                return Err(error.into());
            }
            K::drop(&mut worker, database).await?;
        }
        self.put_back(worker).await;
        Ok(())
    }

    /// Ends the transactions in a database that outlive their session, and its subscriptions, and returns how many there were.
    async fn end_prepared(&self, database: &str) -> usize {
        let ended = async {
            let mut inside = self.connect(database).await?;
            let ended = K::end_prepared(&mut inside).await;
            close::<K>(inside).await;
            Ok::<_, Error>(ended?)
        };
        ended.await.unwrap_or_else(|error| {
            tracing::debug!(%error, database, "prepared transactions are left");
            0
        })
    }

    /// Waits until no session is left in a database; false when one stays.
    pub(in crate::testing) async fn until_quiet(&self, database: &str) -> Result<bool, Error> {
        let quiet = async {
            let mut pause = Duration::from_millis(1);
            loop {
                let mut session = self.take().await?;
                let left = K::sessions(session.connection(), database).await;
                if session.seen(left)? == 0 {
                    return Ok(true);
                }
                drop(session);
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(20));
            }
        };
        timeout(QUIET_LIMIT, quiet).await.unwrap_or(Ok(false))
    }
}

impl<K: Kind> InUse<'_, K> {
    fn open(&mut self) -> &mut Open<K> {
        match &mut *self.open {
            Some(open) => open,
            None => unreachable!("`ServerSession::take` has opened it"),
        }
    }

    pub(in crate::testing) fn connection(&mut self) -> &mut ConnectionOf<K> {
        &mut self.open().connection
    }

    pub(in crate::testing) fn incarnation(&mut self) -> &str {
        &self.open().identity.incarnation
    }

    /// Returns a result unchanged, and notes whether the connection answers or has ended.
    pub(in crate::testing) fn seen<T>(&mut self, result: sqlx::Result<T>) -> sqlx::Result<T> {
        match &result {
            Ok(_) => self.open().answered = Instant::now(),
            Err(error) if K::DB::ends_session(error) => self.open().broken = true,
            Err(_) => {}
        }
        result
    }

    /// Takes those of these locks that are free and not held by this process, at most `most`, and returns them.
    pub(super) async fn lock_some(
        &mut self,
        keys: &[String],
        most: usize,
    ) -> sqlx::Result<Vec<String>> {
        let free: Vec<String> = {
            let held = lock(&self.session.held);
            let free = keys.iter().filter(|key| !held.contains(*key));
            free.cloned().collect()
        };
        if free.is_empty() {
            return Ok(free);
        }
        let locked = K::lock(self.connection(), &free, most).await;
        let locked = self.seen(locked)?;
        lock(&self.session.held).extend(locked.iter().cloned());
        Ok(locked)
    }

    /// Takes one lock, if it is free and not held by this process.
    pub(super) async fn try_lock(&mut self, key: &str) -> sqlx::Result<bool> {
        Ok(!self.lock_some(&[key.to_owned()], 1).await?.is_empty())
    }

    /// Whether this process has a lock: a session that replaced a broken one may have lost it to another process.
    pub(super) fn has(&self, key: &str) -> bool {
        lock(&self.session.held).contains(key)
    }

    pub(super) async fn unlock(&mut self, keys: &[String]) -> sqlx::Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let result = K::unlock(self.connection(), keys).await;
        lock(&self.session.held).retain(|held| !keys.contains(held));
        self.seen(result)
    }

    /// Lists the test databases.
    pub(super) async fn list(&mut self) -> sqlx::Result<Vec<Found>> {
        let found = K::list(self.connection()).await;
        self.seen(found)
    }
}

/// Runs statements, and ignores their rows.
pub(in crate::testing) fn execute<C>(
    connection: &mut C,
    sql: String,
) -> BoxFuture<'_, sqlx::Result<()>>
where
    C: Connection,
    C::Database: Backend<Connection = C>,
{
    let executed =
        <C::Database as Executes>::execute(connection, sqlx::raw_sql(AssertSqlSafe(sql)));
    Box::pin(async move { executed.await.map(drop) })
}

/// Closes a connection, within [`CLOSE_LIMIT`].
pub(super) async fn close<K: Kind>(connection: ConnectionOf<K>) {
    let _ = timeout(CLOSE_LIMIT, connection.close()).await;
}
