//! Templates and clones on Postgres.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use sqlx::error::DatabaseError;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};

use super::baseline::Baseline;
use super::kind::PostgresKind;
use super::since::seeded;
use super::template::not_created;
use super::{around, clean, names, template};
use crate::error::Error;
use crate::settings::EngineSettings;
use crate::testing::recipe::Recipe;
use crate::testing::server::{
    Adaptor, CloneName, Leased, ServerSession, Servers, Template, execute,
};
use crate::testing::test_server::TestServer;

static SERVERS: LazyLock<Servers<PostgresKind>> = LazyLock::new(Servers::default);

/// The server of these settings.
pub(in crate::testing) fn test_server(
    settings: &EngineSettings,
) -> Result<Arc<dyn TestServer>, Error> {
    Ok(SERVERS.of(settings)?)
}

impl Adaptor for PostgresKind {
    async fn build(
        session: &ServerSession<Self>,
        recipe: &Recipe,
        fingerprint: &str,
    ) -> Result<Baseline, Error> {
        template::build(session, recipe, fingerprint).await
    }

    async fn clone(
        session: &ServerSession<Self>,
        recipe: &Recipe,
        template: &Template<Self>,
        name: &CloneName<'_>,
    ) -> Result<String, Error> {
        let mut worker = session.worker().await?;
        let of = names::template(&template.fingerprint);
        let ready = names::ready(name);
        let is_complete = template.content.around.is_nothing();
        // Until the clone has what is not copied, it has the name of one that nobody takes.
        let copy = if is_complete {
            ready.clone()
        } else {
            names::lease(name)
        };
        let create = format!("CREATE DATABASE {copy} TEMPLATE {of}");
        if let Err(error) = execute(&mut worker, create).await {
            return Err(not_created(session, recipe, &error).await);
        }
        if !is_complete {
            let completed = async {
                let all = around::statements(&mut worker, &of, &copy).await?;
                let (settings, mut rest): (Vec<String>, Vec<String>) = all
                    .into_iter()
                    .partition(|statement| statement.starts_with("ALTER"));
                for setting in settings {
                    // The parameter may be one of a library that this session has not loaded. The database then has fewer
                    // settings than its template, and is used for one test only.
                    match execute(&mut worker, setting).await {
                        Err(sqlx::Error::Database(error)) => {
                            crate::logging::warn!(%error, "a setting of the template's database is not one of the test's");
                        }
                        set => set?,
                    }
                }
                rest.push(format!("ALTER DATABASE {copy} RENAME TO {ready}"));
                execute(&mut worker, rest.join("; ")).await
            };
            match completed.await {
                Ok(()) => {}
                // A session has come into it. The caller does not find the clone, and makes another one.
                Err(error) if code_of(&error).as_deref() == Some("55006") => {
                    let _ = session.drop_only(&copy).await;
                }
                Err(error) => {
                    let _ = session.drop_only(&copy).await;
                    return Err(not_created(session, recipe, &error).await);
                }
            }
        }
        session.put_back(worker).await;
        Ok(ready)
    }

    async fn begin_lease_of_kept(
        _: &ServerSession<Self>,
        leased: &Leased<Self>,
        kept: Option<&mut PgConnection>,
    ) -> Result<(), Error> {
        let Some(connection) = kept else {
            unreachable!("a database is kept with a connection to it")
        };
        // A start or crash of the server would have ended the kept session, so the incarnation is the same. A crash may
        // lose this transaction, but then it also begins another incarnation.
        let unmark = format!(
            "BEGIN; SET LOCAL synchronous_commit = off; COMMENT ON DATABASE {} IS NULL; SELECT {} AND {}; COMMIT",
            leased.name,
            leased.since.nobody_came(),
            seeded(),
        );
        let row = sqlx::raw_sql(AssertSqlSafe(unmark))
            .fetch_one(connection)
            .await?;
        if row.try_get(0)? {
            return Ok(());
        }
        Err(sqlx::Error::Protocol("somebody else was in the database".to_owned()).into())
    }

    async fn is_alone(
        _: &ServerSession<Self>,
        leased: &Leased<Self>,
        kept: Option<&mut PgConnection>,
    ) -> Result<bool, Error> {
        let Some(connection) = kept else {
            return Ok(false);
        };
        // A transaction that was rolled back may have written data of the planner in place. The text of that data depends on
        // the search path.
        let ask = format!(
            "BEGIN; SET LOCAL search_path = pg_catalog; SELECT {} AND {} = 0 AND {} AND {} AND {}; COMMIT",
            leased.since.nobody_came(),
            leased.since.others(),
            leased.since.has_no_slot(),
            leased.since.is_planned_as_before(),
            seeded(),
        );
        let row = sqlx::raw_sql(AssertSqlSafe(ask))
            .fetch_one(connection)
            .await?;
        Ok(row.try_get(0)?)
    }

    async fn clean(
        _: &ServerSession<Self>,
        template: &Template<Self>,
        leased: &mut Leased<Self>,
        kept: Option<&mut PgConnection>,
    ) -> Result<bool, Error> {
        let Some(connection) = kept else {
            return Ok(false);
        };
        let sessions = leased.since.counted();
        let mark = names::mark_clean(&leased.name, &leased.incarnation, &sessions);
        Ok(clean::clean(&template.content, connection, &mut leased.since, &mark).await?)
    }
}

fn code_of(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error().and_then(DatabaseError::code)
}
