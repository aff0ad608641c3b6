//! CockroachDB: a new database for each test, whose name says which session it belongs to.
//!
//! There are no advisory locks and no templates here, so that the adaptor for [`server`](super::server)s does not fit. What
//! tells a database in use from one that an ended process has left is the session that each process keeps: a database belongs
//! to the session in its name, and is nobody's when the cluster does not know that session any more.
//!
//! `poolhouse_<session>_<n>` is a test's, or that of the tests of one process that roll back, as long as the session is there;
//! it is kept for a person when its comment says so. No database goes on to another test.
//!
//! (A process that loses its session while tests run loses its databases to the next process that begins.)

mod lease;
mod reaper;
mod session;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_core::future::BoxFuture;
use once_cell::sync::Lazy;
use tokio::sync::OnceCell;

use self::lease::{CockroachLease, Database};
use self::session::Session;
use super::background;
use super::inventory::TestDatabase;
use super::recipe::Recipe;
use super::server::PREFIX;
use super::test::Test;
use super::test_server::{Lease, Room, TestServer};
use super::url;
use crate::error::Error;
use crate::settings::EngineSettings;

/// One cluster and user, as this process knows it.
struct Cluster {
    key: String,
    session: Session,
    /// The next database's number.
    number: AtomicU64,
    /// The databases of tests that roll back, by their fingerprints.
    rollbacks: Mutex<HashMap<String, Arc<OnceCell<Arc<Database>>>>>,
    reaped: AtomicBool,
}

static CLUSTERS: Lazy<Mutex<HashMap<String, Arc<Cluster>>>> = Lazy::new(Mutex::default);

/// The cluster of these settings.
pub(super) fn test_server(settings: &EngineSettings) -> Result<Arc<dyn TestServer>, Error> {
    let key = url::server(settings)?;
    let mut clusters = lock(&CLUSTERS);
    let cluster = clusters.entry(key.clone()).or_insert_with(|| {
        Arc::new(Cluster {
            key,
            session: Session::new(settings),
            number: AtomicU64::new(0),
            rollbacks: Mutex::default(),
            reaped: AtomicBool::new(false),
        })
    });
    Ok(Arc::clone(cluster) as Arc<dyn TestServer>)
}

impl TestServer for Cluster {
    fn key(&self) -> &str {
        &self.key
    }

    /// A node takes as many connections as come, unless its operator says otherwise:
    /// <https://www.cockroachlabs.com/docs/stable/cluster-settings>, `server.max_connections_per_gateway`.
    fn reserve(self: Arc<Self>, _: u32) -> BoxFuture<'static, Result<Room, Error>> {
        Box::pin(async { Ok(Box::new(()) as Room) })
    }

    fn lease(
        self: Arc<Self>,
        recipe: Arc<Recipe>,
        test: Test,
        rolls_back: bool,
    ) -> BoxFuture<'static, Result<Box<dyn Lease>, Error>> {
        Box::pin(background::run(async move {
            let database = if rolls_back {
                self.for_rollback(&recipe).await?
            } else {
                self.make(&recipe).await?
            };
            self.reap_once();
            let url = url::of_database(&recipe.settings, database.name())?;
            Ok(Box::new(CockroachLease::new(database, test, url)) as Box<dyn Lease>)
        }))
    }

    fn list(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<TestDatabase>, Error>> {
        Box::pin(background::run(async move { self.inventory().await }))
    }

    fn remove_unused(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<TestDatabase>, Error>> {
        Box::pin(background::run(async move { self.remove_all().await }))
    }
}

impl Cluster {
    /// Makes a database that holds what the recipe says. When this fails, it is dropped.
    async fn make(self: &Arc<Self>, recipe: &Recipe) -> Result<Arc<Database>, Error> {
        let mut session = self.session.take().await?;
        let number = self.number.fetch_add(1, Relaxed);
        let name = format!("{PREFIX}{}_{number}", session.id());
        session.execute(format!("CREATE DATABASE {name}")).await?;
        drop(session);
        let url = url::of_database(&recipe.settings, &name)?;
        let database = Arc::new(Database::new(Arc::clone(self), name));
        recipe.fill(url).await?;
        Ok(database)
    }

    /// The database of this process's tests that roll back, made if it is not there.
    async fn for_rollback(self: &Arc<Self>, recipe: &Recipe) -> Result<Arc<Database>, Error> {
        let fingerprint = recipe.fingerprint("CockroachDB");
        let known = Arc::clone(lock(&self.rollbacks).entry(fingerprint).or_default());
        let database = known.get_or_try_init(|| self.make(recipe)).await?;
        Ok(Arc::clone(database))
    }

    /// Lets the next test that rolls back have another database than this one.
    fn take_out_of_use(&self, name: &str) {
        let is_another = |known: &Arc<OnceCell<Arc<Database>>>| {
            known.get().is_none_or(|database| database.name() != name)
        };
        lock(&self.rollbacks).retain(|_, known| is_another(known));
    }
}

/// Nothing here panics while such a lock is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
