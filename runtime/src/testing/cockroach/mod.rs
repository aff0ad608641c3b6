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

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use futures_core::future::BoxFuture;
use once_cell::sync::Lazy;
use sqlx::error::DatabaseError;

use self::lease::CockroachLease;
use self::session::Session;
use super::background;
use super::calendar::today;
use super::ground::{Ground, Lease, Room, Shared};
use super::inventory::TestDatabase;
use super::recipe::Recipe;
use super::site::Sites;
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

static SITES: Lazy<Sites<Site>> = Lazy::new(Sites::default);

/// The cluster of these settings.
pub(crate) fn ground(settings: &EngineSettings) -> Result<Arc<dyn Ground>, Error> {
    let site = SITES.of(settings, |key| Site {
        key,
        session: Session::new(settings),
        number: AtomicU64::new(0),
        sharing: tokio::sync::Mutex::default(),
        reaped: AtomicBool::new(false),
    })?;
    Ok(site)
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
            let name = self.name_of_ours().await?;
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

    /// The database for tests that roll back, made if it is not there.
    async fn shared(&self, recipe: &Recipe) -> Result<String, Error> {
        let _turn = self.sharing.lock().await;
        let mut session = self.session.take().await?;
        let fingerprint = recipe.fingerprint(&session.version().await?);
        let name = format!("{PREFIX}{fingerprint}_shared");
        let there = session.databases().await?;
        drop(session);
        if !there.iter().any(|one| one.name == name) {
            self.make_shared(recipe, &name).await?;
        }
        let note = format!("COMMENT ON DATABASE {name} IS '{}'", today());
        self.session.take().await?.execute(note).await?;
        Ok(name)
    }

    /// Makes a database that gets its name when it is complete, unless another process is quicker.
    async fn make_shared(&self, recipe: &Recipe, name: &str) -> Result<(), Error> {
        let building = self.name_of_ours().await?;
        let made = async {
            self.make(recipe, &building).await?;
            let rename = format!("ALTER DATABASE {building} RENAME TO {name}");
            match self.session.take().await?.execute(rename).await {
                Ok(()) => Ok(true),
                // 42P04: <https://www.postgresql.org/docs/current/errcodes-appendix.html>
                Err(error) if is_taken(&error) => Ok(false),
                Err(error) => Err(Error::from(error)),
            }
        };
        match made.await {
            Ok(true) => Ok(()),
            // Another process was quicker.
            Ok(false) => Ok(self.session.take().await?.drop_database(&building).await?),
            Err(error) => {
                let mut session = self.session.take().await?;
                if let Err(error) = session.drop_database(&building).await {
                    tracing::debug!(%error, "a database that was not completed is left to the next run");
                }
                Err(error)
            }
        }
    }

    /// A name that says that a database is this process's.
    async fn name_of_ours(&self) -> Result<String, Error> {
        let session = self.session.take().await?.id();
        let number = self.number.fetch_add(1, Relaxed);
        Ok(format!("{PREFIX}{session}_{number}"))
    }
}

/// Whether a database's new name is another one's already.
fn is_taken(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.as_deref() == Some("42P04")
}
