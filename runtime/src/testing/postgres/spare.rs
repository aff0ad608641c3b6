//! What this process keeps from one test to the next for a moment: places, clean databases, and connections for tests that
//! roll back.
//!
//! A test that begins right after another one then asks the server for nothing. What no test has taken for a moment goes
//! back, so that other processes get it.

use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_core::future::BoxFuture;
use sqlx::postgres::{PgConnection, Postgres};
use sqlx::{Connection, Row};
use sqlx_core::transaction::TransactionManager;
use tokio::time::timeout;

use super::Site;
use super::cleaning::Clean;
use super::door::{CLEAR_LIMIT, close, connector};
use super::template::Template;
use crate::error::Error;
use crate::pool::{Asked, Lent, open_for};
use crate::settings::{DatabaseUrl, LentToAny};
use crate::testing::background;
use crate::testing::ground::Lease;
use crate::testing::recipe::Recipe;

/// How long something is kept that no test takes. The next test of a run begins within a few milliseconds.
const MOMENT: Duration = Duration::from_millis(100);

/// How long places are passed on among the tests of this process, before tests of others have a chance to get them.
const TURN: Duration = Duration::from_millis(500);

/// What is kept.
#[derive(Default)]
pub(super) struct Kept(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Places, each with the others of the same test, and since when this process has them.
    places: Vec<(Vec<i64>, Instant)>,
    /// Connections, by their options.
    connections: HashMap<String, Vec<(PgConnection, Asked)>>,
    /// Databases with a connection each, by the fingerprints of their templates.
    databases: HashMap<String, Vec<Clean>>,
    /// Places that this process has, in use and kept.
    all_places: usize,
    /// Tests that use some of them.
    tests: usize,
    /// Counts what was put here, so that it is known whether something was since.
    puts: u64,
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many places, if they are kept together.
    pub(super) fn take_places(&self, wanted: usize) -> Option<(Vec<i64>, Instant)> {
        let places = &mut self.lock().places;
        let at = places.iter().position(|(keys, _)| keys.len() == wanted)?;
        Some(places.swap_remove(at))
    }

    /// Notes that a test uses places.
    pub(super) fn use_places(&self) {
        self.lock().tests += 1;
    }

    /// Notes that this process has taken places from the server.
    pub(super) fn add_places(&self, places: usize) {
        self.lock().all_places += places;
    }

    /// A clean database, if one is kept.
    pub(super) fn take_database(&self, fingerprint: &str) -> Option<Clean> {
        self.lock().databases.get_mut(fingerprint)?.pop()
    }
}

impl Inner {
    /// Whether one more database can be kept with its connection. Those that are kept count as connections for which
    /// this process has places, and every test that runs needs at least one of them.
    fn has_room(&self) -> bool {
        let kept: usize = self.databases.values().map(Vec::len).sum();
        kept < self.all_places.saturating_sub(self.tests)
    }
}

impl Site {
    /// Keeps places, or gives them back when their turn is over.
    pub(super) fn keep_places(self: &Arc<Self>, keys: Vec<i64>, since: Instant) {
        let site = Arc::clone(self);
        self.kept.lock().tests -= 1;
        if since.elapsed() > TURN {
            // The runtime is there: it has taken the places.
            let _ = background::spawn(async move {
                site.close_connections().await;
                site.unlock_places(&keys).await;
            });
            return;
        }
        self.kept.lock().places.push((keys, since));
        self.freed.notify_waiters();
        self.give_up_later();
    }

    /// Gives back what is kept, unless something else is put there within a moment.
    fn give_up_later(self: &Arc<Self>) {
        let site = Arc::clone(self);
        let mut kept = self.kept.lock();
        kept.puts += 1;
        let puts = kept.puts;
        drop(kept);
        // The runtime is there: what is kept comes from it.
        let _ = background::spawn(async move {
            tokio::time::sleep(MOMENT).await;
            if site.kept.lock().puts == puts {
                site.give_up_kept().await;
            }
        });
    }

    /// Keeps a clean database for the next test, or makes it ready for any process.
    pub(super) async fn keep_database(
        self: &Arc<Self>,
        template: &Template,
        clean: Clean,
    ) -> Result<(), Error> {
        let fingerprint = &template.fingerprint;
        {
            let mut kept = self.kept.lock();
            // One that a test waits for is used at once.
            if self.waiting.load(SeqCst) > 0 || kept.has_room() {
                let databases = kept.databases.entry(fingerprint.clone()).or_default();
                databases.push(clean);
                drop(kept);
                self.give_up_later();
                return Ok(());
            }
        }
        self.shelve(fingerprint, clean).await
    }

    /// Gives back what is kept; false when that was nothing.
    pub(super) async fn give_up_kept(&self) -> bool {
        let places = std::mem::take(&mut self.kept.lock().places);
        self.close_connections().await;
        for (keys, _) in &places {
            self.unlock_places(keys).await;
        }
        !places.is_empty()
    }

    async fn close_connections(&self) {
        let (connections, databases) = {
            let mut kept = self.kept.lock();
            (
                std::mem::take(&mut kept.connections),
                std::mem::take(&mut kept.databases),
            )
        };
        for (connection, _) in connections.into_values().flatten() {
            close(connection).await;
        }
        for (fingerprint, databases) in databases {
            for clean in databases {
                if let Err(error) = self.shelve(&fingerprint, clean).await {
                    tracing::debug!(%error, "a clean database could not be made ready");
                }
            }
        }
    }

    async fn unlock_places(&self, keys: &[i64]) {
        self.kept.lock().all_places -= keys.len();
        let unlocked = async { Ok::<_, Error>(self.session.take().await?.unlock(keys).await?) };
        if let Err(error) = unlocked.await {
            tracing::warn!(%error, "places for connections could not be given back");
        }
        self.freed.notify_waiters();
    }

    /// A connection to the database of tests that roll back: one that an earlier test has had, or a new one.
    pub(super) async fn lend(
        self: &Arc<Self>,
        recipe: &Recipe,
        url: DatabaseUrl,
    ) -> Result<HeldLease, Error> {
        let connector = connector(recipe, url.clone())?;
        let options = format!("{:?}", connector.options());
        let kept = {
            let mut kept = self.kept.lock();
            kept.connections.get_mut(&options).and_then(Vec::pop)
        };
        let (connection, asked) = match kept {
            Some(kept) => kept,
            None => (open_for(&connector).await?.take(), Asked::default()),
        };
        Ok(HeldLease {
            site: Arc::clone(self),
            url,
            options,
            lent: Lent::new(connection, asked, true),
        })
    }

    /// Keeps a connection that a test has had, if nothing of that test is left in it.
    async fn keep_connection(&self, mut connection: PgConnection, asked: Asked, options: String) {
        match timeout(CLEAR_LIMIT, clean(&mut connection)).await {
            Ok(Ok(true)) => {
                let mut kept = self.kept.lock();
                kept.connections
                    .entry(options)
                    .or_default()
                    .push((connection, asked));
            }
            Ok(Ok(false)) => close(connection).await,
            // It is closed without a goodbye, and the server rolls back.
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

/// Ends the transaction of a test and all that belongs to the session; false when the driver may remember a type of that
/// test, which is gone now.
async fn clean(connection: &mut PgConnection) -> sqlx::Result<bool> {
    connection.ping().await?;
    // Those of savepoints that were rolled back count too.
    let types =
        "SELECT pg_stat_get_xact_tuples_inserted('pg_catalog.pg_type'::pg_catalog.regclass)";
    let made_types: i64 = sqlx::raw_sql(types)
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)?;
    while <Postgres as sqlx::Database>::TransactionManager::get_transaction_depth(connection) > 0 {
        <Postgres as sqlx::Database>::TransactionManager::rollback(connection).await?;
    }
    if made_types > 0 {
        return Ok(false);
    }
    connection.clear_cached_statements().await?;
    sqlx::raw_sql("DISCARD ALL").execute(connection).await?;
    Ok(true)
}

/// What a test has that rolls back: a connection that comes back.
pub(super) struct HeldLease {
    site: Arc<Site>,
    url: DatabaseUrl,
    options: String,
    lent: Arc<Lent<Postgres>>,
}

impl Lease for HeldLease {
    fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    fn lent(&self) -> Option<LentToAny> {
        Some(Arc::clone(&self.lent) as LentToAny)
    }

    fn end(self: Box<Self>, _: bool) -> BoxFuture<'static, Option<String>> {
        Box::pin(async { None })
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        let connections = self.lent.take_all();
        if connections.is_empty() {
            return;
        }
        let (site, options) = (Arc::clone(&self.site), self.options.clone());
        let asked = self.lent.asked();
        // The background runtime is there: it has opened the connection.
        let _ = background::spawn(async move {
            for connection in connections {
                site.keep_connection(connection, asked.clone(), options.clone())
                    .await;
            }
        });
    }
}
