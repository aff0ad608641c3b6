//! A test's database, from lease to return.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use futures_core::future::BoxFuture;

use super::door::{self, Door, LentDoor};
use super::stock::Leased;
use super::template::Template;
use super::{Site, locks};
use crate::error::Error;
use crate::settings::{DatabaseUrl, LentToAny};
use crate::testing::background;
use crate::testing::ground::Lease;
use crate::testing::keep;
use crate::testing::recipe::Recipe;
use crate::testing::test::Test;
use crate::testing::url;

/// The lease of one test.
pub(super) struct PgLease {
    site: Arc<Site>,
    recipe: Arc<Recipe>,
    template: Arc<Template>,
    test: Test,
    url: DatabaseUrl,
    /// `None` once it is given back.
    leased: Option<Leased>,
    /// `None` before it is open, and once it is given back.
    door: Option<LentDoor>,
}

impl PgLease {
    /// The lease of a database, and the way into it.
    pub(super) async fn open(
        site: Arc<Site>,
        recipe: Arc<Recipe>,
        template: Arc<Template>,
        test: Test,
        leased: Leased,
        door: Option<Door>,
    ) -> Result<Self, Error> {
        let mut lease = Self {
            url: url::of_database(&recipe.settings, &leased.name)?,
            site,
            recipe,
            template,
            test,
            leased: Some(leased.clone()),
            door: None,
        };
        // If this fails, the lease is dropped, and the database given back.
        let options = door::options(&lease.recipe)?;
        let fitting = match door {
            Some(door) if door.has(&options) => door,
            other => {
                if let Some(other) = other {
                    other.close().await;
                }
                Door::open(&lease.recipe, options, &leased).await?
            }
        };
        lease.door = Some(fitting.lend());
        Ok(lease)
    }
}

impl Site {
    /// Marks a database for a person, who finds it until the next day.
    async fn keep(&self, leased: &Leased, test: &Test) -> Result<(), Error> {
        let mut session = self.session.take().await?;
        session.execute(keep::mark(&leased.name, test)).await?;
        session.unlock(&[locks::lease(leased.oid)]).await?;
        Ok(())
    }
}

impl PgLease {
    /// Gives the database back in the background: nobody waits for it.
    fn give_back(&mut self) {
        let Some(leased) = self.leased.take() else {
            return;
        };
        let door = self.door.take();
        let (site, recipe, template) = (
            Arc::clone(&self.site),
            Arc::clone(&self.recipe),
            Arc::clone(&self.template),
        );
        site.coming.fetch_add(1, SeqCst);
        // The background runtime is there: it has leased the database.
        let _ = background::spawn(async move {
            let name = leased.name.clone();
            if let Err(error) = site.take_back(&recipe, &template, leased, door).await {
                tracing::warn!(%error, database = name, "a test's database could not be taken back");
            }
            site.coming.fetch_sub(1, SeqCst);
            site.freed.notify_waiters();
        });
    }
}

impl Lease for PgLease {
    fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    fn lent(&self) -> Option<LentToAny> {
        Some(Arc::clone(&self.door.as_ref()?.lent) as LentToAny)
    }

    fn end(mut self: Box<Self>, keep: bool) -> BoxFuture<'static, Option<String>> {
        let kept = if keep { self.leased.take() } else { None };
        self.give_back();
        let Some(kept) = kept else {
            return Box::pin(async { None });
        };
        let connections = self.door.take().map(|door| door.lent.take_all());
        Box::pin(async move {
            for connection in connections.into_iter().flatten() {
                door::close(connection).await;
            }
            let shown = url::for_people(&self.url);
            let (site, test) = (Arc::clone(&self.site), self.test.clone());
            if let Err(error) = background::run(async move { site.keep(&kept, &test).await }).await
            {
                tracing::warn!(%error, "a failed test's database could not be marked, and will be removed");
            }
            Some(shown)
        })
    }
}

impl Drop for PgLease {
    fn drop(&mut self) {
        self.give_back();
    }
}
