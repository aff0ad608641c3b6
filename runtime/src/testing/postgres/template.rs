//! Templates: made once for each fingerprint, by whoever comes first, among all processes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use tokio::sync::OnceCell;

use super::baseline::Baseline;
use super::{Site, locks, names};
use crate::error::{Error, TestError};
use crate::testing::calendar::today;
use crate::testing::recipe::Recipe;
use crate::testing::url;

/// How often a process looks whether another one has finished the template that it waits for.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A complete template.
pub(super) struct Template {
    pub(super) fingerprint: String,
    pub(super) baseline: Baseline,
    /// The copy for tests that roll back, once this process has seen it.
    pub(super) shared: OnceCell<String>,
}

impl Template {
    fn new(fingerprint: String, baseline: Baseline) -> Arc<Self> {
        Arc::new(Self {
            fingerprint,
            baseline,
            shared: OnceCell::new(),
        })
    }
}

/// The templates that this process has asked for. A failure is remembered too: the next test would fail the same way.
#[derive(Default)]
pub(super) struct Templates(Mutex<HashMap<String, Arc<Known>>>);

type Known = OnceCell<Result<Arc<Template>, Error>>;

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
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            Arc::clone(templates.entry(fingerprint.clone()).or_default())
        };
        let found = known
            .get_or_init(|| self.find_or_build(recipe, fingerprint))
            .await;
        match found {
            Ok(template) => Ok(Arc::clone(template)),
            Err(error) => Err(error.again(&recipe.settings)),
        }
    }

    async fn find_or_build(
        &self,
        recipe: &Recipe,
        fingerprint: String,
    ) -> Result<Arc<Template>, Error> {
        let name = names::template(&fingerprint);
        let key = locks::template(&fingerprint);
        loop {
            let mut session = self.session.take().await?;
            if let Some(baseline) = find(session.connection(), &name).await? {
                return Ok(Template::new(fingerprint, baseline));
            }
            if session.try_lock(key).await? {
                break;
            }
            drop(session);
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let built = self.build(recipe, &fingerprint, &name).await;
        self.session.take().await?.unlock(&[key]).await?;
        Ok(Template::new(fingerprint, built?))
    }

    /// Builds the template. Its lock is held.
    async fn build(
        &self,
        recipe: &Recipe,
        fingerprint: &str,
        name: &str,
    ) -> Result<Baseline, Error> {
        // Whoever had the lock before may have finished it.
        if let Some(baseline) = find(self.session.take().await?.connection(), name).await? {
            return Ok(baseline);
        }
        let building = names::building(fingerprint);
        let mut worker = self.worker().await?;
        execute(
            &mut worker,
            format!("DROP DATABASE IF EXISTS {building} WITH (FORCE)"),
        )
        .await?;
        execute(&mut worker, format!("CREATE DATABASE {building}"))
            .await
            .map_err(|error| not_created(recipe, error))?;
        let filled = async {
            recipe
                .fill(url::of_database(&recipe.settings, &building)?)
                .await?;
            let mut connection = self.session.another(&building).await?;
            let baseline = Baseline::measure(&mut connection).await?;
            connection.close().await?;
            Ok(baseline)
        };
        let baseline = match filled.await {
            Ok(baseline) => baseline,
            Err(error) => {
                execute(
                    &mut worker,
                    format!("DROP DATABASE {building} WITH (FORCE)"),
                )
                .await?;
                return Err(error);
            }
        };
        self.until_quiet(&building).await?;
        // Nobody has anything to do in it, and a session in it would be in the way of copies.
        execute(
            &mut worker,
            format!("ALTER DATABASE {building} ALLOW_CONNECTIONS false"),
        )
        .await?;
        note(&mut worker, &building, &baseline).await?;
        execute(
            &mut worker,
            format!("ALTER DATABASE {building} RENAME TO {name}"),
        )
        .await?;
        self.put_back(worker);
        Ok(baseline)
    }
}

fn not_created(recipe: &Recipe, error: sqlx::Error) -> Error {
    let denied = error.as_database_error().and_then(DatabaseError::code);
    if denied.as_deref() == Some("42501") {
        let cure = "Grant it with ALTER ROLE … CREATEDB, or write isolation = \"none\"";
        return TestError::new(&recipe.settings, "the role may not create databases", cure).into();
    }
    error.into()
}

/// The baseline of a template, if it is there and complete.
async fn find(connection: &mut PgConnection, name: &str) -> sqlx::Result<Option<Baseline>> {
    let comment: Option<Option<String>> = sqlx::query_scalar(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1 AND datconnlimit <> -2",
    )
    .bind(name)
    .fetch_optional(&mut *connection)
    .await?;
    let Some((day, baseline)) = comment.flatten().as_deref().and_then(read_note) else {
        return Ok(None);
    };
    if day != today() {
        // Several processes may do so at the same time, and all write the same.
        let _ = note(connection, name, &baseline).await;
    }
    Ok(Some(baseline))
}

/// Writes the day and the baseline where they go with the database: in its comment.
async fn note(connection: &mut PgConnection, name: &str, baseline: &Baseline) -> sqlx::Result<()> {
    let text = format!("{}\n{}", today(), baseline.to_text()).replace('\'', "''");
    execute(
        connection,
        format!(
            "COMMENT ON DATABASE {name} IS E'{}'",
            text.replace('\\', "\\\\")
        ),
    )
    .await
}

/// The day and the baseline of a template's comment.
pub(super) fn read_note(comment: &str) -> Option<(u64, Baseline)> {
    let (day, baseline) = comment.split_once('\n')?;
    Some((day.parse().ok()?, Baseline::from_text(baseline)?))
}

pub(super) async fn execute(connection: &mut PgConnection, sql: String) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await
        .map(drop)
}
