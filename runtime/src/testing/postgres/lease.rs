//! A test's database, from lease to return.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::SystemTime;

use futures_core::future::BoxFuture;

use super::stock::Leased;
use super::template::Template;
use super::{Site, locks, names};
use crate::error::Error;
use crate::settings::DatabaseUrl;
use crate::testing::background;
use crate::testing::ground::Lease;
use crate::testing::recipe::Recipe;
use crate::testing::test::Test;
use crate::testing::url;

/// What the comment on a kept database begins with.
pub(super) const KEPT: &str = "poolhouse kept";

/// The lease of one test.
pub(super) struct PgLease {
    site: Arc<Site>,
    recipe: Arc<Recipe>,
    template: Arc<Template>,
    test: Test,
    url: DatabaseUrl,
    /// `None` once it is given back.
    leased: Option<Leased>,
}

impl PgLease {
    pub(super) fn new(
        site: Arc<Site>,
        recipe: Arc<Recipe>,
        template: Arc<Template>,
        test: Test,
        leased: Leased,
    ) -> Result<Self, Error> {
        let url = url::of_database(&recipe.settings, &leased.name)?;
        Ok(Self {
            site,
            recipe,
            template,
            test,
            url,
            leased: Some(leased),
        })
    }
}

impl Site {
    /// Takes a database back: makes it ready again, or drops it.
    async fn take_back(
        &self,
        recipe: &Recipe,
        template: &Template,
        leased: Leased,
    ) -> Result<(), Error> {
        let oid = leased.oid;
        let Some(clean) = self.clean(recipe, template, leased).await? else {
            return Ok(());
        };
        let ready = names::ready(&template.fingerprint);
        let mut session = self.session.take().await?;
        session
            .execute(format!("ALTER DATABASE {clean} RENAME TO {ready}"))
            .await?;
        session.unlock(&[locks::lease(oid)]).await?;
        Ok(())
    }

    /// Marks a database for a person, who finds it until the next day.
    async fn keep(&self, leased: &Leased, test: &Test) -> Result<(), Error> {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let mut session = self.session.take().await?;
        let comment = format!("{KEPT} {} {test}", now.as_secs()).replace('\'', "''");
        session
            .execute(format!(
                "COMMENT ON DATABASE {} IS '{comment}'",
                leased.name
            ))
            .await?;
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
        let (site, recipe, template) = (
            Arc::clone(&self.site),
            Arc::clone(&self.recipe),
            Arc::clone(&self.template),
        );
        site.coming.fetch_add(1, SeqCst);
        // The background runtime is there: it has leased the database.
        let _ = background::spawn(async move {
            let name = leased.name.clone();
            if let Err(error) = site.take_back(&recipe, &template, leased).await {
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

    fn end(mut self: Box<Self>, keep: bool) -> BoxFuture<'static, Option<String>> {
        let kept = if keep { self.leased.take() } else { None };
        self.give_back();
        let Some(kept) = kept else {
            return Box::pin(async { None });
        };
        Box::pin(async move {
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
