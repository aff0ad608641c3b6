//! What this process keeps from one test to the next for a moment: places, and connections for tests that roll back.
//!
//! A test that begins right after another one then asks the server for nothing. What no test has taken for a moment goes
//! back, so that other processes get it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_core::future::BoxFuture;
use sqlx::postgres::{PgConnection, Postgres};
use sqlx::{Connection, Row};
use sqlx_core::transaction::TransactionManager;
use tokio::time::timeout;

use super::Site;
use crate::error::Error;
use crate::pool::{Connector, Lent, LentToAny, open_for};
use crate::settings::DatabaseUrl;
use crate::testing::background;
use crate::testing::ground::Lease;
use crate::testing::recipe::Recipe;

/// How long something is kept that no test takes. The next test of a run begins within a few milliseconds.
const MOMENT: Duration = Duration::from_millis(100);

/// How long places are passed on among the tests of this process, before tests of others have a chance to get them.
const TURN: Duration = Duration::from_millis(500);

/// How long cleaning a connection may take; a few round trips, and a rollback.
const CLEAN_LIMIT: Duration = Duration::from_secs(2);

/// What is kept.
#[derive(Default)]
pub(super) struct Kept(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Places, each with the others of the same test, and since when this process has them.
    places: Vec<(Vec<i64>, Instant)>,
    /// Connections, by their options.
    connections: HashMap<String, Vec<PgConnection>>,
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
}

impl Site {
    /// Keeps places, or gives them back when their turn is over.
    pub(super) fn keep_places(self: &Arc<Self>, keys: Vec<i64>, since: Instant) {
        let site = Arc::clone(self);
        if since.elapsed() > TURN {
            // The runtime is there: it has taken the places.
            let _ = background::spawn(async move {
                site.close_connections().await;
                site.unlock_places(&keys).await;
            });
            return;
        }
        let mut kept = self.kept.lock();
        kept.places.push((keys, since));
        kept.puts += 1;
        let puts = kept.puts;
        drop(kept);
        self.freed.notify_waiters();
        let _ = background::spawn(async move {
            tokio::time::sleep(MOMENT).await;
            if site.kept.lock().puts == puts {
                site.give_up_kept().await;
            }
        });
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
        let connections = std::mem::take(&mut self.kept.lock().connections);
        for connection in connections.into_values().flatten() {
            let _ = timeout(CLEAN_LIMIT, connection.close()).await;
        }
    }

    async fn unlock_places(&self, keys: &[i64]) {
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
        let mut settings = recipe.settings.clone();
        settings.url = url.clone();
        // The engine runs it when it takes the connection.
        settings.session = None;
        let connector = Arc::new(Connector::<Postgres>::new(settings)?);
        let options = format!("{:?}", connector.options());
        let kept = {
            let mut kept = self.kept.lock();
            kept.connections.get_mut(&options).and_then(Vec::pop)
        };
        let connection = match kept {
            Some(connection) => connection,
            None => open_for(&connector).await?.take(),
        };
        Ok(HeldLease {
            site: Arc::clone(self),
            url,
            options,
            lent: Lent::new(connection, true),
        })
    }

    /// Keeps a connection that a test has had, if nothing of that test is left in it.
    async fn keep_connection(&self, mut connection: PgConnection, options: String) {
        match timeout(CLEAN_LIMIT, clean(&mut connection)).await {
            Ok(Ok(true)) => {
                let mut kept = self.kept.lock();
                kept.connections
                    .entry(options)
                    .or_default()
                    .push(connection);
            }
            Ok(Ok(false)) => drop(timeout(CLEAN_LIMIT, connection.close()).await),
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
        // The background runtime is there: it has opened the connection.
        let _ = background::spawn(async move {
            for connection in connections {
                site.keep_connection(connection, options.clone()).await;
            }
        });
    }
}
