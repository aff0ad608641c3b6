//! CockroachDB: a new database for each test, whose name says which session it belongs to.
//!
//! There are no advisory locks and no templates here. What tells a database in use from one that a killed process has left
//! is the session that each process keeps: a database belongs to the session in its name, and is nobody's when the
//! cluster does not know that session any more.
//!
//! | name | the database |
//! |---|---|
//! | `poolhouse_<session>_<n>` | is a test's as long as the session is there; kept for a person when its comment says so |
//! | `poolhouse_<fingerprint>_shared` | is for tests that roll back; its comment has the day of its last use |
//!
//! (A process that loses its session while tests run loses its databases to the next process that begins.)

mod lease;
mod reaper;
mod session;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_core::future::BoxFuture;
use once_cell::sync::Lazy;

use self::lease::CockroachLease;
use self::session::Session;
use super::background;
use super::ground::{Ground, Lease, Room, Shared};
use super::inventory::TestDatabase;
use super::recipe::Recipe;
use super::test::Test;
use super::url;
use crate::error::Error;
use crate::settings::EngineSettings;

/// What the names of all test databases begin with.
const PREFIX: &str = "poolhouse_";

/// One cluster and user, as this process knows it.
pub(super) struct Site {
    key: String,
    session: Session,
    /// The next database's number.
    number: AtomicU64,
    /// The databases for tests that roll back are made one after the other.
    sharing: tokio::sync::Mutex<()>,
    reaped: AtomicBool,
}

static SITES: Lazy<Mutex<HashMap<String, Arc<Site>>>> = Lazy::new(Mutex::default);

/// The cluster of these settings.
pub(crate) fn ground(settings: &EngineSettings) -> Result<Arc<dyn Ground>, Error> {
    let key = url::server(settings)?;
    let mut sites = SITES.lock().unwrap_or_else(PoisonError::into_inner);
    let site = sites.entry(key.clone()).or_insert_with(|| {
        Arc::new(Site {
            key,
            session: Session::new(settings),
            number: AtomicU64::new(0),
            sharing: tokio::sync::Mutex::default(),
            reaped: AtomicBool::new(false),
        })
    });
    Ok(Arc::clone(site) as Arc<dyn Ground>)
}

impl Ground for Site {
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
    ) -> BoxFuture<'static, Result<Box<dyn Lease>, Error>> {
        Box::pin(background::run(async move {
            let session = self.session.take().await?.id();
            let number = self.number.fetch_add(1, Relaxed);
            let name = format!("{PREFIX}{session}_{number}");
            let lease = CockroachLease::new(Arc::clone(&self), &recipe, test, name)?;
            self.make(&recipe, lease.name()).await?;
            self.reap_once();
            Ok(Box::new(lease) as Box<dyn Lease>)
        }))
    }

    fn share(
        self: Arc<Self>,
        recipe: Arc<Recipe>,
        _: Test,
    ) -> BoxFuture<'static, Result<Box<dyn Lease>, Error>> {
        Box::pin(background::run(async move {
            let name = self.shared(&recipe).await?;
            self.reap_once();
            let url = url::of_database(&recipe.settings, &name)?;
            Ok(Box::new(Shared(url)) as Box<dyn Lease>)
        }))
    }

    fn list(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<TestDatabase>, Error>> {
        Box::pin(background::run(async move { self.inventory().await }))
    }

    fn remove_unused(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<TestDatabase>, Error>> {
        Box::pin(background::run(async move { self.remove_all().await }))
    }
}

impl Site {
    /// Makes a database that holds what the recipe says.
    async fn make(&self, recipe: &Recipe, name: &str) -> Result<(), Error> {
        let create = format!("CREATE DATABASE {name}");
        self.session.take().await?.execute(create).await?;
        let url = url::of_database(&recipe.settings, name)?;
        recipe.fill(url).await
    }

    /// The database for tests that roll back, made if it is not there. It gets its name when it is complete.
    async fn shared(&self, recipe: &Recipe) -> Result<String, Error> {
        let _turn = self.sharing.lock().await;
        let mut session = self.session.take().await?;
        let fingerprint = recipe.fingerprint(&session.version().await?);
        let name = format!("{PREFIX}{fingerprint}_shared");
        let note = format!("COMMENT ON DATABASE {name} IS '{}'", today());
        if session
            .databases()
            .await?
            .iter()
            .any(|one| one.name == name)
        {
            session.execute(note).await?;
            return Ok(name);
        }
        let number = self.number.fetch_add(1, Relaxed);
        let building = format!("{PREFIX}{}_{number}", session.id());
        drop(session);
        let made = self.make(recipe, &building).await;
        let mut session = self.session.take().await?;
        let rename = format!("ALTER DATABASE {building} RENAME TO {name}");
        match (made, session.execute(rename).await) {
            (Ok(()), Ok(())) => session.execute(note).await?,
            // Another process was quicker.
            (Ok(()), Err(error)) if error.as_database_error().is_some() => {
                session.drop_database(&building).await?;
            }
            (Ok(()), Err(error)) => return Err(error.into()),
            (Err(error), _) => {
                session.drop_database(&building).await?;
                return Err(error);
            }
        }
        Ok(name)
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

/// Days since 1970.
fn today() -> u64 {
    now() / Duration::from_hours(24).as_secs()
}
