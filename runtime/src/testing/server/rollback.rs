//! The database of tests that roll back: one for each template and process, in which they run side by side.
//!
//! It is leased like any other, so that it is dropped when its process has ended: what a killed process has committed there
//! by mistake reaches nobody. A test that has ended its transaction takes the database out of use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_core::future::BoxFuture;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::connection::{CLEAR_LIMIT, KeptConnection, LentConnection, options};
use super::lease::one_test_per_process;
use super::{Kind, Leased, Server, Template, lock};
use crate::error::Error;
use crate::settings::{DatabaseUrl, LentToAny};
use crate::testing::background;
use crate::testing::recipe::Recipe;
use crate::testing::test_server::{Ending, Lease};
use crate::testing::url;

/// By the fingerprints of their templates.
pub(super) struct Rollbacks<K: Kind>(Mutex<HashMap<String, Arc<Shared<K>>>>);

type Shared<K> = OnceCell<Arc<RollbackDatabase<K>>>;

impl<K: Kind> Default for Rollbacks<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// A database in which tests roll back. It is given up when its last user drops it.
pub(super) struct RollbackDatabase<K: Kind> {
    server: Arc<Server<K>>,
    template: Arc<Template<K>>,
    name: String,
    inner: Mutex<Inner<K>>,
}

struct Inner<K: Kind> {
    /// `None` once it is given up.
    leased: Option<Leased<K>>,
    connections: Vec<KeptConnection<K>>,
    /// Whether it may hold what a test has committed.
    is_dirty: bool,
}

impl<K: Kind> Server<K> {
    /// Leases the database of tests that roll back, with a connection to it where one is kept.
    pub(super) async fn lease_for_rollback(
        self: &Arc<Self>,
        recipe: &Arc<Recipe>,
        template: &Arc<Template<K>>,
    ) -> Result<RollbackLease<K>, Error> {
        let database = self.rollback_database(recipe, template).await?;
        let mut lease = RollbackLease {
            url: url::of_database(&recipe.settings, &database.name)?,
            database: Some(Arc::clone(&database)),
            lent: None,
        };
        if K::KEEPS_CONNECTIONS {
            let options = options::<K>(recipe)?;
            let kept = {
                let connections = &mut lock(&database.inner).connections;
                let at = connections.iter().position(|kept| kept.has(&options));
                at.map(|at| connections.swap_remove(at))
            };
            let kept = match kept {
                Some(kept) => kept,
                None => database.open(recipe).await?,
            };
            lease.lent = Some(kept.lend(true));
        }
        Ok(lease)
    }

    async fn rollback_database(
        self: &Arc<Self>,
        recipe: &Arc<Recipe>,
        template: &Arc<Template<K>>,
    ) -> Result<Arc<RollbackDatabase<K>>, Error> {
        let fingerprint = &template.fingerprint;
        let known = {
            let mut all = lock(&self.rollbacks.0);
            Arc::clone(all.entry(fingerprint.clone()).or_default())
        };
        let database = known.get_or_try_init(|| async {
            let (leased, kept) = self.lease_clone(recipe, template).await?;
            Ok::<_, Error>(Arc::new(RollbackDatabase {
                server: Arc::clone(self),
                template: Arc::clone(template),
                name: leased.name.clone(),
                inner: Mutex::new(Inner {
                    leased: Some(leased),
                    connections: kept.into_iter().collect(),
                    is_dirty: false,
                }),
            }))
        });
        let database = Arc::clone(database.await?);
        let incarnation = self.identity().await?.incarnation;
        let is_current = lock(&database.inner)
            .leased
            .as_ref()
            .is_some_and(|leased| leased.incarnation == incarnation);
        if is_current {
            return Ok(database);
        }
        // The server was started anew since.
        database.take_out_of_use();
        Box::pin(self.rollback_database(recipe, template)).await
    }
}

impl<K: Kind> RollbackDatabase<K> {
    async fn open(&self, recipe: &Recipe) -> Result<KeptConnection<K>, Error> {
        let since = lock(&self.inner)
            .leased
            .as_ref()
            .map(|leased| leased.since.clone());
        let Some(mut since) = since else {
            unreachable!("only its last user gives it up");
        };
        let kept = KeptConnection::open(recipe, &self.name, &mut since).await?;
        if let Some(leased) = &mut lock(&self.inner).leased {
            leased.since = since;
        }
        Ok(kept)
    }

    /// Lets the next test have another database.
    fn take_out_of_use(&self) {
        lock(&self.inner).is_dirty = true;
        let mut all = lock(&self.server.rollbacks.0);
        let fingerprint = &self.template.fingerprint;
        let is_this = all.get(fingerprint).and_then(|one| one.get());
        if is_this.is_some_and(|one| one.name == self.name) {
            all.remove(fingerprint);
        }
    }
}

impl<K: Kind> Drop for RollbackDatabase<K> {
    fn drop(&mut self) {
        let Some(leased) = lock(&self.inner).leased.take() else {
            return;
        };
        self.server.drop_in_background(leased);
    }
}

/// The lease of one test that rolls back.
pub(super) struct RollbackLease<K: Kind> {
    /// `None` once it is given back.
    database: Option<Arc<RollbackDatabase<K>>>,
    url: DatabaseUrl,
    lent: Option<LentConnection<K>>,
}

impl<K: Kind> Lease for RollbackLease<K> {
    fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    fn lent(&self) -> Option<LentToAny> {
        Some(Arc::clone(&self.lent.as_ref()?.lent) as LentToAny)
    }

    fn end(mut self: Box<Self>, ending: Ending) -> BoxFuture<'static, Option<String>> {
        let returned = self.give_back(ending);
        Box::pin(async move {
            if let Some(returned) = returned
                && one_test_per_process()
            {
                // The process ends now, and what is not given back in order is dropped.
                let _ = returned.await;
            }
            None
        })
    }
}

impl<K: Kind> RollbackLease<K> {
    fn give_back(&mut self, ending: Ending) -> Option<tokio::task::JoinHandle<()>> {
        let database = self.database.take()?;
        let lent = self.lent.take();
        if ending == Ending::Drop {
            database.take_out_of_use();
        }
        // The background runtime is there: it has leased the database.
        background::spawn(async move { database.take_back(lent).await }).ok()
    }
}

impl<K: Kind> RollbackDatabase<K> {
    /// Keeps the connections of a test, if nothing of that test is left in them.
    async fn take_back(self: Arc<Self>, lent: Option<LentConnection<K>>) {
        for mut kept in lent.iter().flat_map(LentConnection::take_all) {
            match timeout(CLEAR_LIMIT, K::end_rollback(&mut kept.connection)).await {
                Ok(Ok(true)) => lock(&self.inner).connections.push(kept),
                Ok(Ok(false)) => kept.close().await,
                // It is closed without a goodbye, and the server rolls back.
                Ok(Err(_)) | Err(_) => {}
            }
        }
        if one_test_per_process() {
            let opened = lent.map_or(0, |lent| lent.lent.opened());
            self.return_in_order(opened).await;
        }
    }

    /// Gives the database back after the only test of this process, if it can be shown to be clean.
    async fn return_in_order(&self, opened: i64) {
        let (leased, kept) = {
            let mut inner = lock(&self.inner);
            if inner.is_dirty {
                return;
            }
            (inner.leased.take(), inner.connections.pop())
        };
        let Some(mut leased) = leased else {
            return;
        };
        K::opened_by_engine(&mut leased.since, opened);
        let (kept, is_clean) = self.server.clean(&self.template, &mut leased, kept).await;
        let fingerprint = &self.template.fingerprint;
        let returned = self
            .server
            .return_database(fingerprint, leased, kept, is_clean);
        if let Err(error) = returned.await {
            tracing::debug!(%error, database = self.name, "a database is left to the next run");
        }
        self.server.give_up_kept().await;
    }
}

impl<K: Kind> Drop for RollbackLease<K> {
    fn drop(&mut self) {
        self.give_back(Ending::Return);
    }
}
