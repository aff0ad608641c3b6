//! Database servers that give databases to tests: leases, templates, clones and retention, written once for all of them.
//!
//! | file | what it holds |
//! |---|---|
//! | `kind` | what differs from database to database |
//! | `session` | the connection that holds this process's locks |
//! | `budget` | the server's connections, shared out among all processes |
//! | `template` | templates, made once for each fingerprint |
//! | `stock` | clones: made, leased, made ahead |
//! | `lease` | the database of one test, from lease to return |
//! | `connection` | a connection that goes with a database from test to test |
//! | `kept` | what a process keeps from one test to the next |
//! | `reaper` | databases that nobody uses any more |

mod budget;
mod connection;
mod kept;
mod kind;
mod lease;
mod reaper;
mod session;
mod stock;
mod template;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_core::future::BoxFuture;
use tokio::sync::Notify;

use self::kept::Kept;
pub(super) use self::kind::{CloneName, Found, Identity, Kind, State};
use self::session::Session;
pub(super) use self::session::open;
#[cfg(feature = "postgres")]
pub(super) use self::session::settings_for_leases;
pub(super) use self::stock::Leased;
pub(super) use self::template::Template;
use self::template::Templates;
use super::background;
use super::inventory::TestDatabase;
use super::recipe::Recipe;
use super::test::Test;
use super::test_server::{Lease, Room, TestServer};
use super::url;
use crate::error::Error;
use crate::settings::EngineSettings;

/// What the names of all test databases begin with.
pub(super) const PREFIX: &str = "poolhouse_";

/// The driver's connection of a kind.
pub(super) type ConnectionOf<K> = <<K as Kind>::DB as sqlx::Database>::Connection;

/// One server and user, as this process knows it.
pub(super) struct Server<K: Kind> {
    key: String,
    session: Session<K>,
    templates: Templates<K>,
    budget_turn: tokio::sync::Mutex<()>,
    /// Places or databases have come back.
    freed: Notify,
    /// Tests of this process that wait for a database.
    waiting: AtomicUsize,
    /// Databases on their way: clones under way, and databases being returned.
    coming: AtomicUsize,
    /// Databases that tests have given back, and that are being looked through.
    returning: AtomicUsize,
    kept: Kept<K>,
    reaped: AtomicBool,
}

/// The servers of one kind that this process tests on.
pub(super) struct Servers<K: Kind>(Mutex<HashMap<String, Arc<Server<K>>>>);

impl<K: Kind> Default for Servers<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Kind> Servers<K> {
    /// The server and user of these settings.
    pub(super) fn of(&self, settings: &EngineSettings) -> Result<Arc<Server<K>>, Error> {
        let key = url::server(settings)?;
        let mut servers = lock(&self.0);
        let server = servers.entry(key.clone()).or_insert_with(|| {
            Arc::new(Server {
                key,
                session: Session::new(settings),
                templates: Templates::default(),
                budget_turn: tokio::sync::Mutex::default(),
                freed: Notify::new(),
                waiting: AtomicUsize::new(0),
                coming: AtomicUsize::new(0),
                returning: AtomicUsize::new(0),
                kept: Kept::default(),
                reaped: AtomicBool::new(false),
            })
        });
        Ok(Arc::clone(server))
    }
}

impl<K: Kind> TestServer for Server<K> {
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
        rolls_back: bool,
    ) -> BoxFuture<'static, Result<Box<dyn Lease>, Error>> {
        Box::pin(background::run(async move {
            let template = self.template(&recipe).await?;
            let lease = self.lease_database(&recipe, template, test, rolls_back);
            let lease = lease.await?;
            self.reap_once();
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

/// Nothing here panics while such a lock is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
