//! A test's database, from lease to return.

use std::sync::Arc;

use futures_core::future::BoxFuture;

use super::Site;
use crate::error::Error;
use crate::settings::DatabaseUrl;
use crate::testing::background;
use crate::testing::ground::Lease;
use crate::testing::keep;
use crate::testing::recipe::Recipe;
use crate::testing::test::Test;
use crate::testing::url;

/// The lease of one test.
pub(super) struct CockroachLease {
    site: Arc<Site>,
    test: Test,
    url: DatabaseUrl,
    name: String,
    over: bool,
}

impl CockroachLease {
    pub(super) fn new(
        site: Arc<Site>,
        recipe: &Recipe,
        test: Test,
        name: String,
    ) -> Result<Self, Error> {
        Ok(Self {
            url: url::of_database(&recipe.settings, &name)?,
            site,
            test,
            name,
            over: false,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Drops the database in the background: nobody waits for it.
    fn give_back(&mut self) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let (site, name) = (Arc::clone(&self.site), self.name.clone());
        // The background runtime is there: it has made the database.
        let _ = background::spawn(async move {
            let dropped = async {
                let mut session = site.session.take().await?;
                Ok::<_, Error>(session.drop_database(&name).await?)
            };
            if let Err(error) = dropped.await {
                tracing::warn!(%error, database = name, "a test's database could not be removed");
            }
        });
    }
}

impl Lease for CockroachLease {
    fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    fn end(mut self: Box<Self>, keep: bool) -> BoxFuture<'static, Option<String>> {
        if !keep {
            self.give_back();
            return Box::pin(async { None });
        }
        self.over = true;
        Box::pin(async move {
            let mark = keep::mark(&self.name, &self.test);
            let site = Arc::clone(&self.site);
            let marked =
                background::run(async move { Ok(site.session.take().await?.execute(mark).await?) });
            if let Err(error) = marked.await {
                tracing::warn!(%error, "a failed test's database could not be marked, and will be removed");
            }
            Some(url::for_people(&self.url))
        })
    }
}

impl Drop for CockroachLease {
    fn drop(&mut self) {
        self.give_back();
    }
}
