//! MySQL and MariaDB: databases made by replaying a template's schema, leased by `GET_LOCK`.
//!
//! | name | the database |
//! |---|---|
//! | `poolhouse_<fingerprint>_template` | is a template, or is becoming one |
//! | `poolhouse_<fingerprint>_shared` | is a copy for tests that roll back |
//! | `poolhouse_<fingerprint>_<n>` | is a test's while the lock of the same name is held |
//! | …`_done_<day>` | is empty, and says that the one named before it is complete, and when it was last used |
//! | …`_kept_<second>` | is empty, and says that the one named before it is kept for a person |
//!
//! A database cannot be renamed here, nor carry a comment, so further databases say what there is to be said.
//!
//! | file | what it holds |
//! |---|---|
//! | `session` | the connection that holds the locks |
//! | `template` | making templates and copies |
//! | `schema` | a database as statements that make another one like it |
//! | `lease` | a test's database, from lease to return |
//! | `reaper` | what killed processes have left |

mod lease;
mod reaper;
mod schema;
mod session;
mod template;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_core::future::BoxFuture;
use once_cell::sync::{Lazy, OnceCell};
use tokio::sync::Notify;

use self::session::Session;
use self::template::Templates;
use super::background;
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

/// One server and user, as this process knows it.
pub(super) struct Site {
    key: String,
    session: Session,
    templates: Templates,
    /// How many places for connections there are on the server.
    all_places: OnceCell<u32>,
    budget_turn: tokio::sync::Mutex<()>,
    /// Places have come back.
    freed: Notify,
    reaped: AtomicBool,
}

static SITES: Lazy<Sites<Site>> = Lazy::new(Sites::default);

/// The server of these settings.
pub(crate) fn ground(settings: &EngineSettings) -> Result<Arc<dyn Ground>, Error> {
    let site = SITES.of(settings, |key| Site {
        key,
        session: Session::new(settings),
        templates: Templates::default(),
        all_places: OnceCell::new(),
        budget_turn: tokio::sync::Mutex::default(),
        freed: Notify::new(),
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
        _: Test,
    ) -> BoxFuture<'static, Result<Box<dyn Lease>, Error>> {
        Box::pin(background::run(async move {
            let template = self.template(&recipe).await?;
            let lease = self.lease_database(&recipe, &template).await?;
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
