//! Templates and copies: made once for each fingerprint, by whoever comes first, among all processes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection};
use tokio::sync::OnceCell;

use super::schema::Schema;
use super::{PREFIX, Site};
use crate::error::{Error, TestError};
use crate::testing::calendar::today;
use crate::testing::recipe::Recipe;
use crate::testing::url;

/// How often a process looks whether another one has finished the template that it waits for.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A complete template.
pub(super) struct Template {
    pub(super) fingerprint: String,
    /// How another database becomes like it; `None` when only its recipe can do that.
    schema: Option<Schema>,
    shared: OnceCell<()>,
}

/// The templates that this process has asked for. A failure is remembered too: the next test would fail the same way.
#[derive(Default)]
pub(super) struct Templates(Mutex<HashMap<String, Arc<Known>>>);

type Known = OnceCell<Result<Arc<Template>, Error>>;

impl Template {
    /// Whether a database like it takes no longer to make and to remove than it takes to connect.
    pub(super) fn is_empty(&self) -> bool {
        self.schema.as_ref().is_some_and(Schema::is_empty)
    }
}

impl Site {
    /// The template of this recipe, made if it is not there.
    pub(super) async fn template(&self, recipe: &Recipe) -> Result<Arc<Template>, Error> {
        let server = self.session.take().await?.server().to_owned();
        let fingerprint = recipe.fingerprint(&server);
        let known = {
            let mut templates = self
                .templates
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            Arc::clone(templates.entry(fingerprint.clone()).or_default())
        };
        let found = known.get_or_init(|| async {
            let name = format!("{PREFIX}{fingerprint}_template");
            self.once(&name, self.make(recipe, &name)).await?;
            let mut connection = self.session.another().await?;
            let schema = Schema::read(&mut connection, &name).await?;
            self.session.put_back(connection).await;
            Ok(Arc::new(Template {
                fingerprint,
                schema,
                shared: OnceCell::new(),
            }))
        });
        match found.await {
            Ok(template) => Ok(Arc::clone(template)),
            Err(error) => Err(error.again(&recipe.settings)),
        }
    }

    /// The copy for tests that roll back, made if it is not there.
    pub(super) async fn shared(
        &self,
        recipe: &Recipe,
        template: &Template,
    ) -> Result<String, Error> {
        let name = format!("{PREFIX}{}_shared", template.fingerprint);
        let shared = template
            .shared
            .get_or_try_init(|| self.once(&name, self.copy(recipe, template, &name)));
        shared.await?;
        Ok(name)
    }

    /// Makes a database like the template, in place of whatever has its name.
    pub(super) async fn copy(
        &self,
        recipe: &Recipe,
        template: &Template,
        name: &str,
    ) -> Result<(), Error> {
        let Some(schema) = &template.schema else {
            return self.make(recipe, name).await;
        };
        if schema.is_empty() {
            let made = self.session.take().await?.execute(schema.begin(name)).await;
            return made.map_err(|error| not_made(recipe, &error));
        }
        let mut worker = self.session.worker().await?;
        let made = sqlx::raw_sql(AssertSqlSafe(schema.replay(name)))
            .execute(&mut worker)
            .await;
        if let Err(error) = made {
            // It may be the connection that failed.
            let _ = worker.close().await;
            return Err(not_made(recipe, &error));
        }
        self.session.put_back(worker).await;
        Ok(())
    }

    /// Makes a database by its recipe, in place of whatever has its name.
    async fn make(&self, recipe: &Recipe, name: &str) -> Result<(), Error> {
        let fresh = format!("DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name}");
        let created = self.session.take().await?.execute(fresh).await;
        created.map_err(|error| not_made(recipe, &error))?;
        recipe.fill(url::of_database(&recipe.settings, name)?).await
    }

    /// Does what makes a database complete, unless it was done; one process at a time.
    async fn once(
        &self,
        name: &str,
        make: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), Error> {
        let done = format!("{name}_done_");
        let lock = [name.to_owned()];
        loop {
            if self.is_done(&done).await? {
                return Ok(());
            }
            if !self.session.take().await?.lock(&lock).await?.is_empty() {
                break;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let completed = async {
            // Whoever had the lock before may have finished it.
            if !self.is_done(&done).await? {
                make.await?;
                let mark = format!("CREATE DATABASE {done}{}", today());
                self.session.take().await?.execute(mark).await?;
            }
            Ok(())
        };
        let completed = completed.await;
        self.session.take().await?.unlock(&lock).await?;
        completed
    }

    /// Whether the mark is there. It carries the day on which it was last looked for.
    async fn is_done(&self, done: &str) -> Result<bool, Error> {
        let mut session = self.session.take().await?;
        let marks = session.databases(done).await?;
        let current = format!("{done}{}", today());
        if !marks.is_empty() && !marks.contains(&current) {
            // Several processes may do so at the same time, and all come to the same.
            session
                .execute(format!("CREATE DATABASE IF NOT EXISTS {current}"))
                .await?;
            for mark in &marks {
                session
                    .execute(format!("DROP DATABASE IF EXISTS {mark}"))
                    .await?;
            }
        }
        Ok(!marks.is_empty())
    }
}

fn not_made(recipe: &Recipe, error: &sqlx::Error) -> Error {
    let what = format!("no database can be made: {error}");
    let cure = "Grant the user all rights on `poolhouse\\_%`, or write isolation = \"none\"";
    TestError::new(&recipe.settings, what, cure).into()
}
