//! A test's database, from lease to return.

use std::sync::Arc;

use futures_core::future::BoxFuture;

use super::template::Template;
use super::{PREFIX, Site};
use crate::error::Error;
use crate::settings::DatabaseUrl;
use crate::testing::background;
use crate::testing::calendar::now;
use crate::testing::ground::Lease;
use crate::testing::recipe::Recipe;
use crate::testing::url;

/// The lease of one test.
pub(super) struct MySqlLease {
    site: Arc<Site>,
    /// The database, and its lock. `None` once it is given back.
    name: Option<String>,
    url: DatabaseUrl,
    /// Whether it was empty.
    was_empty: bool,
}

impl Site {
    /// Leases the first number that is free, and makes its database.
    pub(super) async fn lease_database(
        self: &Arc<Self>,
        recipe: &Recipe,
        template: &Template,
    ) -> Result<MySqlLease, Error> {
        let name = self.lock_number(&template.fingerprint).await?;
        let lease = MySqlLease {
            site: Arc::clone(self),
            url: url::of_database(&recipe.settings, &name)?,
            name: Some(name.clone()),
            was_empty: template.is_empty(),
        };
        self.copy(recipe, template, &name).await?;
        Ok(lease)
    }

    async fn lock_number(&self, fingerprint: &str) -> Result<String, Error> {
        let mut session = self.session.take().await?;
        let prefix = format!("{PREFIX}{fingerprint}_");
        let there = session.databases(&prefix).await?;
        let mut number = 0_u32;
        loop {
            let name = format!("{prefix}{number}");
            let kept = format!("{name}_kept_");
            let is_kept = there.iter().any(|other| other.starts_with(&kept));
            if !is_kept && !session.lock(std::slice::from_ref(&name)).await?.is_empty() {
                return Ok(name);
            }
            number += 1;
        }
    }
}

impl MySqlLease {
    /// Drops the database in the background: nobody waits for it.
    fn give_back(&mut self) {
        let Some(name) = self.name.take() else {
            return;
        };
        let (site, was_empty) = (Arc::clone(&self.site), self.was_empty);
        // The background runtime is there: it has leased the database.
        let _ = background::spawn(async move {
            let dropped = async {
                let drop = format!("DROP DATABASE IF EXISTS {name}");
                let worker = match site.session.idle_worker().await {
                    // There is little in it, if anything, and a new connection takes longer than the drop.
                    None if was_empty => None,
                    None => Some(site.session.another().await?),
                    idle => idle,
                };
                if let Some(mut worker) = worker {
                    // Not over the session, because others wait for the one with the locks.
                    let drop = sqlx::raw_sql(sqlx::AssertSqlSafe(drop));
                    drop.execute(&mut worker).await?;
                    site.session.put_back(worker).await;
                } else {
                    site.session.take().await?.execute(drop).await?;
                }
                let mut session = site.session.take().await?;
                session.unlock(std::slice::from_ref(&name)).await?;
                Ok::<_, Error>(())
            };
            if let Err(error) = dropped.await {
                tracing::warn!(%error, database = name, "a test's database could not be removed");
            }
        });
    }
}

impl Lease for MySqlLease {
    fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    fn end(mut self: Box<Self>, keep: bool) -> BoxFuture<'static, Option<String>> {
        let kept = if keep { self.name.take() } else { None };
        self.give_back();
        let Some(name) = kept else {
            return Box::pin(async { None });
        };
        Box::pin(async move {
            let site = Arc::clone(&self.site);
            let marked = background::run(async move {
                let mut session = site.session.take().await?;
                session
                    .execute(format!("CREATE DATABASE {name}_kept_{}", now()))
                    .await?;
                session.unlock(&[name]).await?;
                Ok(())
            });
            if let Err(error) = marked.await {
                tracing::warn!(%error, "a failed test's database could not be marked, and will be removed");
            }
            Some(url::for_people(&self.url))
        })
    }
}

impl Drop for MySqlLease {
    fn drop(&mut self) {
        self.give_back();
    }
}
