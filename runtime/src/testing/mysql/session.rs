//! The connection that this process keeps to a server: it holds the locks of all leases.
//!
//! Locks are known on the whole server, by name: <https://mariadb.com/kb/en/get_lock/>.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::mysql::{MySql, MySqlConnection};
use sqlx::{AssertSqlSafe, Connection, Row};
use tokio::sync::OwnedMutexGuard;

use super::Site;
use crate::backend::Backend;
use crate::error::Error;
use crate::pool::{Connector, open_for};
use crate::settings::EngineSettings;
use crate::testing::background;
use crate::testing::site::for_leases;
use crate::testing::url;

/// A process that waits for places asks this often at least; a test of its own that ends wakes it earlier.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// The connection, opened when it is first needed and again when it broke.
pub(super) struct Session {
    settings: EngineSettings,
    open: Arc<tokio::sync::Mutex<Option<Open>>>,
    /// The locks that this process holds. The server would give them to the same session once more.
    held: Mutex<BTreeSet<String>>,
    /// A connection for work that takes long, while it is idle.
    worker: Mutex<Option<MySqlConnection>>,
}

struct Open {
    connection: MySqlConnection,
    /// What the server adds to every fingerprint.
    server: String,
    broken: bool,
}

/// The connection while one task uses it.
pub(super) struct InUse<'a> {
    session: &'a Session,
    open: OwnedMutexGuard<Option<Open>>,
}

impl Session {
    pub(super) fn new(settings: &EngineSettings) -> Self {
        Self {
            settings: for_leases(settings),
            open: Arc::default(),
            held: Mutex::default(),
            worker: Mutex::default(),
        }
    }

    /// Takes the connection, once others have finished with it.
    pub(super) async fn take(&self) -> Result<InUse<'_>, Error> {
        let mut open = Arc::clone(&self.open).lock_owned().await;
        if open.as_ref().is_none_or(|open| open.broken) {
            *open = Some(self.connect().await?);
        }
        Ok(InUse {
            session: self,
            open,
        })
    }

    /// A further connection, for work that takes long, without a database.
    pub(super) async fn another(&self) -> Result<MySqlConnection, Error> {
        let mut settings = self.settings.clone();
        settings.url = url::of_database(&settings, "")?;
        let connector = Arc::new(Connector::<MySql>::new(settings)?);
        Ok(open_for(&connector).await?.take())
    }

    /// The connection that was kept for the next work, if nobody has it and it still works.
    pub(super) async fn idle_worker(&self) -> Option<MySqlConnection> {
        let mut worker = self.lock_worker().take()?;
        worker.ping().await.ok()?;
        Some(worker)
    }

    /// A connection for work that takes long. It may have another default database, and settings of a replay.
    pub(super) async fn worker(&self) -> Result<MySqlConnection, Error> {
        match self.idle_worker().await {
            Some(worker) => Ok(worker),
            None => self.another().await,
        }
    }

    /// Keeps a connection for the next work. One is enough most of the time, and others need connections too.
    pub(super) async fn put_back(&self, worker: MySqlConnection) {
        let surplus = self.lock_worker().replace(worker);
        if let Some(surplus) = surplus {
            // The work is done, whether or not the server hears a goodbye.
            let _ = surplus.close().await;
        }
    }

    fn lock_worker(&self) -> MutexGuard<'_, Option<MySqlConnection>> {
        // Nothing panics while the lock is held.
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> Result<Open, Error> {
        let mut connection = self.another().await?;
        let server =
            sqlx::query_scalar("SELECT CAST(CONCAT_WS(' ', VERSION(), CURRENT_USER()) AS CHAR)")
                .fetch_one(&mut connection)
                .await?;
        // After a broken connection the leases are still ours, unless another process was quicker.
        let held: Vec<String> = self.held().iter().cloned().collect();
        for name in held {
            get_locks(&mut connection, &[name]).await?;
        }
        Ok(Open {
            connection,
            server,
            broken: false,
        })
    }

    fn held(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // Nothing panics while the lock is held.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InUse<'_> {
    fn open(&mut self) -> &mut Open {
        match &mut *self.open {
            Some(open) => open,
            None => unreachable!("`Session::take` has opened it"),
        }
    }

    /// What the server adds to every fingerprint: its version, and the user that owns the database.
    pub(super) fn server(&mut self) -> &str {
        &self.open().server
    }

    /// Passes a result on, and notes when it says that the connection is gone.
    fn seen<T>(&mut self, result: sqlx::Result<T>) -> sqlx::Result<T> {
        if result.as_ref().err().is_some_and(MySql::ends_session) {
            self.open().broken = true;
        }
        result
    }

    /// Takes those of these locks that are free and not ours, and tells which.
    pub(super) async fn lock(&mut self, names: &[String]) -> sqlx::Result<Vec<String>> {
        let free: Vec<String> = {
            let held = self.session.held();
            names
                .iter()
                .filter(|name| !held.contains(*name))
                .cloned()
                .collect()
        };
        if free.is_empty() {
            return Ok(free);
        }
        let locked = get_locks(&mut self.open().connection, &free).await;
        let locked = self.seen(locked)?;
        self.session.held().extend(locked.iter().cloned());
        Ok(locked)
    }

    pub(super) async fn unlock(&mut self, names: &[String]) -> sqlx::Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        // The names are ours: letters, digits and `_`.
        let released: Vec<String> = names
            .iter()
            .map(|name| format!("RELEASE_LOCK('{name}')"))
            .collect();
        let result = self.execute(format!("DO {}", released.join(", "))).await;
        self.session.held().retain(|held| !names.contains(held));
        result
    }

    /// Runs statements without an answer.
    pub(super) async fn execute(&mut self, sql: String) -> sqlx::Result<()> {
        let run = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.open().connection);
        let result = run.await.map(drop);
        self.seen(result)
    }

    /// The names of the databases that begin with this.
    pub(super) async fn databases(&mut self, prefix: &str) -> sqlx::Result<Vec<String>> {
        let rows = sqlx::query("SELECT CAST(schema_name AS CHAR) FROM information_schema.schemata WHERE LEFT(schema_name, ?) = ? ORDER BY 1")
            .bind(u32::try_from(prefix.len()).unwrap_or(u32::MAX))
            .bind(prefix)
            .fetch_all(&mut self.open().connection)
            .await;
        let rows = self.seen(rows)?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    async fn max_connections(&mut self) -> sqlx::Result<u32> {
        let most = sqlx::query_scalar("SELECT CAST(@@max_connections AS SIGNED)")
            .fetch_one(&mut self.open().connection)
            .await;
        let most: i64 = self.seen(most)?;
        Ok(u32::try_from(most).unwrap_or(u32::MAX))
    }
}

/// Takes those of these locks that are free.
async fn get_locks(
    connection: &mut MySqlConnection,
    names: &[String],
) -> sqlx::Result<Vec<String>> {
    // The names are ours: letters, digits and `_`.
    let asked: Vec<String> = names
        .iter()
        .map(|name| format!("CAST(GET_LOCK('{name}', 0) AS SIGNED)"))
        .collect();
    let row = sqlx::raw_sql(AssertSqlSafe(format!("SELECT {}", asked.join(", "))))
        .fetch_one(connection)
        .await?;
    let got = names
        .iter()
        .enumerate()
        .filter(|(column, _)| row.get::<Option<i64>, _>(*column) == Some(1));
    Ok(got.map(|(_, name)| name.clone()).collect())
}

/// Places for connections of one test, given back when dropped.
struct Places {
    site: Arc<Site>,
    names: Vec<String>,
}

impl Site {
    /// Waits for places, all of a test's at once, so that no test holds some and waits for more.
    ///
    /// Half of the server's connections are places; the other half is for the connection that each process keeps, for
    /// work in the background, and for whatever else uses the server.
    pub(super) async fn places(
        self: Arc<Self>,
        wanted: u32,
    ) -> Result<Box<dyn Any + Send + Sync>, Error> {
        // First come, first served; else a test that wants many would wait until all others are done.
        let _turn = self.budget_turn.lock().await;
        loop {
            let freed = self.freed.notified();
            let mut session = self.session.take().await?;
            let all = if let Some(all) = self.all_places.get() {
                *all
            } else {
                let all = (session.max_connections().await? / 2).max(1);
                *self.all_places.get_or_init(|| all)
            };
            let wanted = wanted.min(all) as usize;
            let places: Vec<String> = (0..all)
                .map(|number| format!("{}place_{number}", super::PREFIX))
                .collect();
            let mut names: Vec<String> = Vec::new();
            // Asked for as many at a time as are still wanted: each that is asked for is taken.
            let mut rest = places.as_slice();
            while names.len() < wanted && !rest.is_empty() {
                let (next, others) = rest.split_at((wanted - names.len()).min(rest.len()));
                names.extend(session.lock(next).await?);
                rest = others;
            }
            if names.len() == wanted {
                drop(session);
                return Ok(Box::new(Places {
                    site: Arc::clone(&self),
                    names,
                }));
            }
            session.unlock(&names).await?;
            drop(session);
            // With jitter, so that processes do not take turns at being too late.
            let pause = ASK_AGAIN.mul_f64(0.5 + fastrand::f64());
            let _ = tokio::time::timeout(pause, freed).await;
        }
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        let (site, names) = (Arc::clone(&self.site), std::mem::take(&mut self.names));
        // The runtime is there: it has taken the places.
        let _ = background::spawn(async move {
            let unlocked =
                async { Ok::<_, Error>(site.session.take().await?.unlock(&names).await?) };
            if let Err(error) = unlocked.await {
                tracing::warn!(%error, "places for connections could not be given back");
            }
            site.freed.notify_waiters();
        });
    }
}
