//! Postgres: copies of a template, leased by advisory locks, and used again when that is exact.
//!
//! | file | what it holds |
//! |---|---|
//! | `names` | the states of a database, as its name tells them |
//! | `locks` | the advisory locks |
//! | `session` | the connection that holds them |
//! | `template` | making a template, once |
//! | `baseline` | what a template holds, and undoing what a test has changed |
//! | `made` | what a test has made in the schema, dropped |
//! | `counts` | what the server counts in a database |
//! | `stock` | copies: made and leased |
//! | `cleaning` | used databases: made clean for the next test, or dropped |
//! | `door` | the connection that passes with a database from test to test |
//! | `lease` | a test's database, from lease to return |
//! | `budget` | the server's connections, shared out among all processes |
//! | `spare` | what a process keeps from one test to the next |
//! | `reaper` | what killed processes have left |

mod baseline;
mod budget;
mod cleaning;
mod counts;
mod door;
mod lease;
mod locks;
mod made;
mod names;
mod reaper;
mod session;
mod spare;
mod stock;
mod template;

use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_core::future::BoxFuture;
use once_cell::sync::{Lazy, OnceCell};
use sqlx::postgres::PgConnection;
use tokio::sync::Notify;

use self::session::Session;
use self::spare::Kept;
use self::template::Templates;
use super::background;
use super::ground::{Ground, Lease, Room};
use super::inventory::TestDatabase;
use super::recipe::Recipe;
use super::site::Sites;
use super::test::Test;
use super::url;
use crate::error::Error;
use crate::settings::EngineSettings;

/// How long the sessions of a database whose users have said goodbye may take to end.
const QUIET_LIMIT: Duration = Duration::from_secs(1);

/// One server and role, as this process knows it.
pub(super) struct Site {
    key: String,
    session: Session,
    /// Connections for work that takes long, while they are idle.
    workers: Mutex<Vec<PgConnection>>,
    templates: Templates,
    /// How many places for connections there are on the server.
    all_places: OnceCell<u32>,
    budget_turn: tokio::sync::Mutex<()>,
    /// Places or databases have come back.
    freed: Notify,
    /// Tests of this process that wait for a database.
    waiting: AtomicUsize,
    /// Databases on their way: copies under way, and databases being returned.
    coming: AtomicUsize,
    kept: Kept,
    reaped: AtomicBool,
}

static SITES: Lazy<Sites<Site>> = Lazy::new(Sites::default);

/// The server of these settings.
pub(crate) fn ground(settings: &EngineSettings) -> Result<Arc<dyn Ground>, Error> {
    let site = SITES.of(settings, |key| Site {
        key,
        session: Session::new(settings),
        workers: Mutex::default(),
        templates: Templates::default(),
        all_places: OnceCell::new(),
        budget_turn: tokio::sync::Mutex::default(),
        freed: Notify::new(),
        waiting: AtomicUsize::new(0),
        coming: AtomicUsize::new(0),
        kept: Kept::default(),
        reaped: AtomicBool::new(false),
    })?;
    Ok(site)
}

impl Ground for Site {
    fn key(&self) -> &str {
        &self.key
    }

    fn reserve(self: Arc<Self>, connections: u32) -> BoxFuture<'static, Result<Room, Error>> {
        Box::pin(background::run(self.places(connections)))
    }

    fn lease(
        self: Arc<Self>,
        recipe: Arc<Recipe>,
        test: Test,
    ) -> BoxFuture<'static, Result<Box<dyn Lease>, Error>> {
        Box::pin(background::run(async move {
            let template = self.template(&recipe).await?;
            let lease = self.lease_database(&recipe, template, test).await?;
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
            let template = self.template(&recipe).await?;
            let name = self.shared(&recipe, &template).await?;
            self.reap_once();
            let url = url::of_database(&recipe.settings, &name)?;
            let lease = self.lend(&recipe, url).await?;
            Ok(Box::new(lease) as Box<dyn Lease>)
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
    /// A connection for work that takes long.
    async fn worker(&self) -> Result<PgConnection, Error> {
        let idle = self
            .workers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        if let Some(worker) = idle {
            return Ok(worker);
        }
        let place = self.session.meeting_place().await?;
        self.session.another(&place).await
    }

    fn put_back(&self, worker: PgConnection) {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        // One is enough most of the time, and others need connections too.
        if workers.is_empty() {
            workers.push(worker);
        }
    }

    /// Waits until no session is left in a database, and ends those that do not go by themselves.
    async fn until_quiet(&self, database: &str) -> Result<(), Error> {
        let begun = std::time::Instant::now();
        let mut pause = Duration::from_millis(1);
        let mut ended = false;
        loop {
            let mut session = self.session.take().await?;
            let left = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'",
            )
            .bind(database)
            .fetch_one(session.connection())
            .await;
            let left: i64 = session.seen(left)?;
            if left == 0 {
                return Ok(());
            }
            // Those of a killed process, or of a task that outlived its test.
            if begun.elapsed() > QUIET_LIMIT && !ended {
                ended = true;
                let result = sqlx::query(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                     WHERE datname = $1 AND backend_type = 'client backend'",
                )
                .bind(database)
                .execute(session.connection())
                .await;
                session.seen(result)?;
            }
            drop(session);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}
