//! Copies of templates: made and leased.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::available_parallelism;
use std::time::Duration;

use sqlx::error::DatabaseError;

use super::cleaning::Clean;
use super::door::Door;
use super::lease::PgLease;
use super::template::{Template, execute};
use super::{Site, locks, names};
use crate::error::{Error, TestError};
use crate::testing::background;
use crate::testing::keep::KEPT;
use crate::testing::recipe::Recipe;
use crate::testing::test::Test;

/// A process that waits for a database asks this often at least: another process may have returned one.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// One leased database.
#[derive(Clone)]
pub(super) struct Leased {
    pub(super) oid: i64,
    pub(super) name: String,
    /// The transaction since which nobody has undone changes.
    pub(super) since: u64,
}

impl Site {
    /// Leases a copy of a template: one that this process has kept, one that is ready, one that can be made ready, or a
    /// new one.
    pub(super) async fn lease_database(
        self: &Arc<Self>,
        recipe: &Arc<Recipe>,
        template: Arc<Template>,
        test: Test,
    ) -> Result<PgLease, Error> {
        self.waiting.fetch_add(1, SeqCst);
        let leased = self.wait_for_database(recipe, &template).await;
        self.waiting.fetch_sub(1, SeqCst);
        let (leased, door) = leased?;
        if door.is_none() {
            self.stock_up(recipe, &template);
        }
        let (site, recipe) = (Arc::clone(self), Arc::clone(recipe));
        PgLease::open(site, recipe, template, test, leased, door).await
    }

    async fn wait_for_database(
        self: &Arc<Self>,
        recipe: &Arc<Recipe>,
        template: &Arc<Template>,
    ) -> Result<(Leased, Option<Door>), Error> {
        loop {
            let freed = self.freed.notified();
            if let Some(Clean { leased, door }) = self.kept.take_database(&template.fingerprint) {
                return Ok((leased, Some(door)));
            }
            if let Some(leased) = self.lease_ready(&template.fingerprint).await? {
                return Ok((leased, None));
            }
            if let Some(used) = self.lease_used(&template.fingerprint).await?
                && let Some(Clean { leased, door }) =
                    self.clean_in_hiding(recipe, template, used).await?
            {
                return Ok((leased, Some(door)));
            }
            if self.coming.load(SeqCst) < self.waiting.load(SeqCst) {
                self.copy(recipe, template).await?;
            } else {
                let _ = tokio::time::timeout(ASK_AGAIN, freed).await;
            }
        }
    }

    /// Leases a copy that no test has seen.
    async fn lease_ready(&self, fingerprint: &str) -> Result<Option<Leased>, Error> {
        let mut session = self.session.take().await?;
        while let Some(locked) = session
            .lease_one(&[names::ready_prefix(fingerprint)])
            .await?
        {
            let leased = Leased {
                oid: locked.oid,
                name: names::lease(fingerprint, locked.now),
                since: locked.now,
            };
            let rename = format!("ALTER DATABASE {} RENAME TO {}", locked.name, leased.name);
            match session.execute(rename).await {
                Ok(()) => return Ok(Some(leased)),
                // Another process has leased and returned it between our look and our lock: its name is another one.
                Err(sqlx::Error::Database(error)) => {
                    tracing::debug!(%error, "a ready database was already leased");
                    session.unlock(&[locks::lease(locked.oid)]).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Leases a database that a process has used and not returned, because it has ended.
    async fn lease_used(&self, fingerprint: &str) -> Result<Option<Leased>, Error> {
        let prefixes =
            ["lease", "reset"].map(|state| format!("{}{fingerprint}_{state}_", names::PREFIX));
        let mut session = self.session.take().await?;
        let Some(locked) = session.lease_one(&prefixes).await? else {
            return Ok(None);
        };
        let oid = locked.oid;
        if let Some(since) = names::used_since(&locked.name, locked.comment.as_deref()) {
            let name = locked.name;
            return Ok(Some(Leased { oid, name, since }));
        }
        session.unlock(&[locks::lease(oid)]).await?;
        Ok(None)
    }

    /// Makes a copy. It appears on the server when it is complete, and belongs to whoever leases it first.
    async fn copy(&self, recipe: &Recipe, template: &Template) -> Result<(), Error> {
        self.coming.fetch_add(1, SeqCst);
        let copied = self
            .copy_as(recipe, template, &names::ready(&template.fingerprint))
            .await;
        self.coming.fetch_sub(1, SeqCst);
        self.freed.notify_waiters();
        copied
    }

    /// The copy for tests that roll back, made if it is not there.
    pub(super) async fn shared(
        &self,
        recipe: &Recipe,
        template: &Template,
    ) -> Result<String, Error> {
        let name = names::shared(&template.fingerprint);
        let shared = template.shared.get_or_try_init(|| async {
            let there =
                sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)");
            let mut session = self.session.take().await?;
            let there = there.bind(&name).fetch_one(session.connection()).await;
            let there: bool = session.seen(there)?;
            drop(session);
            if !there {
                self.copy_as(recipe, template, &name).await?;
            }
            Ok::<_, Error>(name)
        });
        shared.await.cloned()
    }

    async fn copy_as(&self, recipe: &Recipe, template: &Template, name: &str) -> Result<(), Error> {
        let mut worker = self.worker().await?;
        let copy = format!(
            "CREATE DATABASE {name} TEMPLATE {}",
            names::template(&template.fingerprint)
        );
        let copied = execute(&mut worker, copy).await;
        self.put_back(worker);
        copied.or_else(|error| {
            // Another process was quicker: the name is taken, or about to be.
            let code = error.as_database_error().and_then(DatabaseError::code);
            if matches!(code.as_deref(), Some("42P04" | "23505")) {
                return Ok(());
            }
            let cure = "See the server's message and its log";
            let what = format!("the template cannot be copied: {error}");
            Err(TestError::new(&recipe.settings, what, cure).into())
        })
    }

    /// Orders a copy for the next test while the body of this one runs, when there is none and few tests have one.
    fn stock_up(self: &Arc<Self>, recipe: &Arc<Recipe>, template: &Arc<Template>) {
        // As many tests as there are processors run at a time; with one more, the next one need not wait.
        let enough = available_parallelism().map_or(2, usize::from) + 1;
        let (site, recipe, template) = (Arc::clone(self), Arc::clone(recipe), Arc::clone(template));
        let _ = background::spawn(async move {
            let stocked = async {
                if site.coming.load(SeqCst) > 0 {
                    return Ok(());
                }
                let mut session = site.session.take().await?;
                let copies = sqlx::query_scalar(
                    "SELECT count(*) FROM pg_database WHERE starts_with(datname, $1) \
                     AND NOT starts_with(coalesce(shobj_description(oid, 'pg_database'), ''), $2)",
                )
                .bind(format!("{}{}_", names::PREFIX, template.fingerprint))
                .bind(KEPT)
                .fetch_one(session.connection())
                .await;
                let copies: i64 = session.seen(copies)?;
                drop(session);
                if usize::try_from(copies).unwrap_or_default() < enough {
                    site.copy(&recipe, &template).await?;
                }
                Ok::<_, Error>(())
            };
            if let Err(error) = stocked.await {
                tracing::debug!(%error, "no copy was made ahead");
            }
        });
    }
}
