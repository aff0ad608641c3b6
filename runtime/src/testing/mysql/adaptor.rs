//! Templates and clones on MySQL and MariaDB.

use std::sync::{Arc, LazyLock};

use sqlx::Connection;
use sqlx::mysql::MySqlConnection;

use super::kind::MySqlKind;
use super::queries::number;
use super::schema::Schema;
use super::{clean, marks, names};
use crate::dialect::message;
use crate::error::{Error, TestError, TestKind};
use crate::settings::EngineSettings;
use crate::testing::recipe::Recipe;
use crate::testing::server::{
    Adaptor, CloneName, Kind, Leased, PREFIX, ServerSession, Servers, Template, execute,
};
use crate::testing::test_server::TestServer;
use crate::testing::url;

static SERVERS: LazyLock<Servers<MySqlKind>> = LazyLock::new(Servers::default);

/// The server of these settings.
pub(in crate::testing) fn test_server(
    settings: &EngineSettings,
) -> Result<Arc<dyn TestServer>, Error> {
    Ok(SERVERS.of(settings)?)
}

impl Adaptor for MySqlKind {
    async fn build(
        session: &ServerSession<Self>,
        recipe: &Recipe,
        fingerprint: &str,
    ) -> Result<Schema, Error> {
        // Read first, so that a restart during the build makes the mark outdated.
        let incarnation = session.identity().await?.incarnation;
        let name = names::template(fingerprint);
        if let Err(error) = make(session, recipe, &name).await {
            session.drop_unmade(fingerprint, &name).await;
            return Err(error);
        }
        let mut worker = session.worker().await?;
        let mark = marks::of_template(&incarnation);
        let schema = Schema::read(&mut worker, &name, mark).await?;
        // At its next start the server forgets values of counters beyond the rows, unless they were set.
        let counters = schema.set_counters(&name);
        if !counters.is_empty() {
            execute(&mut worker, counters).await?;
        }
        session.still_makes(fingerprint).await?;
        if let Err(error) = marks::set_complete(&mut worker, &name, &schema.mark).await {
            return Err(not_made(session, recipe, &error).await);
        }
        session.put_back(worker).await;
        Ok(schema)
    }

    async fn clone(
        session: &ServerSession<Self>,
        recipe: &Recipe,
        template: &Template<Self>,
        name: &CloneName<'_>,
    ) -> Result<String, Error> {
        let database = names::clone(name);
        if let Some(script) = template.content.replay(&database) {
            let mut worker = session.worker().await?;
            if let Err(error) = execute(&mut worker, script).await {
                // The connection may have failed, or may be in the database.
                let _ = worker.close().await;
                let _ = session.drop_only(&database).await;
                return Err(not_made(session, recipe, &error).await);
            }
            session.put_back(worker).await;
        } else if let Err(error) = make(session, recipe, &database).await {
            let _ = session.drop_only(&database).await;
            return Err(error);
        }
        let mut in_use = session.take().await?;
        let marked = set_equal(in_use.connection(), template, &database, name.incarnation).await;
        let marked = in_use.seen(marked);
        drop(in_use);
        match marked {
            Ok(true) => Ok(database),
            Ok(false) => {
                let _ = session.drop_only(&database).await;
                let what = "the template was removed or made anew while it was copied";
                let cure = "Run the test again";
                Err(TestError::new(&recipe.settings, TestKind::NotMade, what, cure).into())
            }
            Err(error) => Err(not_made(session, recipe, &error).await),
        }
    }

    async fn begin_lease_of_kept(
        session: &ServerSession<Self>,
        leased: &Leased<Self>,
        _: Option<&mut MySqlConnection>,
    ) -> Result<(), Error> {
        let mut session = session.take().await?;
        let taken = marks::take(session.connection(), &leased.name, &leased.incarnation).await;
        let taken = session.seen(taken)?;
        // After a restart of the server, the session is a new one, with another incarnation.
        if taken && *session.incarnation() == leased.incarnation {
            return Ok(());
        }
        Err(sqlx::Error::WorkerCrashed.into())
    }

    async fn clean(
        session: &ServerSession<Self>,
        template: &Template<Self>,
        leased: &mut Leased<Self>,
        _: Option<&mut MySqlConnection>,
    ) -> Result<bool, Error> {
        if template.content.obstacle() {
            return Ok(false);
        }
        let mut worker = session.worker().await?;
        // A connection with which this has failed is not used again.
        let mut is_clean =
            clean::clean(session, &template.content, &mut worker, &leased.name).await?;
        if is_clean {
            let incarnation = &leased.incarnation;
            is_clean = set_equal(&mut worker, template, &leased.name, incarnation).await?;
        }
        session.put_back(worker).await;
        Ok(is_clean)
    }
}

/// Marks a database as equal to its template; false if the template was removed or made anew since it was read.
async fn set_equal(
    connection: &mut MySqlConnection,
    template: &Template<MySqlKind>,
    database: &str,
    incarnation: &str,
) -> sqlx::Result<bool> {
    let Schema { name, mark, .. } = &template.content;
    marks::set_equal(connection, database, incarnation, name, mark).await
}

/// Makes a database by its recipe, in place of any of the same name. After a failure, the caller drops it.
async fn make(
    session: &ServerSession<MySqlKind>,
    recipe: &Recipe,
    name: &str,
) -> Result<(), Error> {
    let mut worker = session.worker().await?;
    let created = async {
        MySqlKind::drop(&mut worker, name).await?;
        execute(&mut worker, format!("CREATE DATABASE {name}")).await
    };
    if let Err(error) = created.await {
        return Err(not_made(session, recipe, &error).await);
    }
    session.put_back(worker).await;
    recipe.fill(url::of_database(&recipe.settings, name)?).await
}

/// Why a database was not made, and what to do.
async fn not_made(
    session: &ServerSession<MySqlKind>,
    recipe: &Recipe,
    error: &sqlx::Error,
) -> Error {
    let user = session.identity().await.map(|identity| identity.user);
    let (kind, what, cure) = match (number(error), user) {
        // Access denied to a database, and a command denied on a table of it.
        (Some(1044 | 1142), Ok(user)) => (
            TestKind::MissingRight,
            format!(
                "the user {user} has no right to make and use databases whose names begin with {PREFIX}"
            ),
            format!(
                "Grant it with GRANT ALL ON `poolhouse\\_%`.* TO {user}; or write isolation = \"none\""
            ),
        ),
        _ => (
            TestKind::NotMade,
            format!("no database can be made: {}", message(error)),
            "See the server's message and its log".to_owned(),
        ),
    };
    TestError::new(&recipe.settings, kind, what, cure).into()
}
