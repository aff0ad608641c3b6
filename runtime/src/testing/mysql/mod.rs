//! MySQL and MariaDB: databases made by replaying a template's schema, leased by `GET_LOCK`, and used again when they are
//! shown to be clean.
//!
//! | name | the database |
//! |---|---|
//! | `poolhouse_<fingerprint>_template` | is a template, or is becoming one |
//! | `poolhouse_<fingerprint>_db_<n>` | is a clone; a test's, or was when its process ended |
//! | …`_done_<day>` | is empty, and says that the template named before it is complete, and when it was last used |
//! | …`_ready_<incarnation>` | is empty, and says that the clone named before it is what its template is, until the server is started anew |
//! | …`_kept_<second>` | is empty, and says that the clone named before it is kept for a person |
//!
//! A database cannot be renamed here, nor carry a comment, so further databases (*marks*) say what there is to be said.
//!
//! | file | what it holds |
//! |---|---|
//! | `names` | what the names tell |
//! | `schema` | what a template holds, and statements that make another database like it |
//! | `clean` | showing that a used database is what its template is |

mod clean;
mod names;
mod schema;

use std::sync::Arc;

use once_cell::sync::Lazy;
use sqlx::mysql::{MySql, MySqlConnection, MySqlDatabaseError};
use sqlx::{AssertSqlSafe, Connection, Row};

use self::schema::Schema;
use super::recipe::Recipe;
use super::retention::{now, today};
use super::server::{
    CloneName, Found, Identity, Kind, Leased, PREFIX, Server, Servers, Template, open,
};
use super::test::Test;
use super::test_server::TestServer;
use super::url;
use crate::error::{Error, TestError};
use crate::settings::EngineSettings;

/// A second since 1970, from which the server's uptime is counted back, so that the answer is the same for one start.
const MOMENT: u64 = 2_000_000_000;

/// MySQL and MariaDB, as a kind of test server.
struct MySqlKind;

static SERVERS: Lazy<Servers<MySqlKind>> = Lazy::new(Servers::default);

/// The server of these settings.
pub(super) fn test_server(settings: &EngineSettings) -> Result<Arc<dyn TestServer>, Error> {
    Ok(SERVERS.of(settings)?)
}

impl Kind for MySqlKind {
    type DB = MySql;
    type Template = Schema;
    type Since = ();

    // Variables, temporary tables and locks of a session go with it alone: the driver cannot reset it.
    const KEEPS_CONNECTIONS: bool = false;

    async fn meet(settings: &EngineSettings) -> Result<(MySqlConnection, String), Error> {
        // Locks are known on the whole server, by name: <https://mariadb.com/kb/en/get_lock/>.
        Ok((open::<MySql>(settings, "").await?, String::new()))
    }

    async fn identity(connection: &mut MySqlConnection) -> sqlx::Result<Identity> {
        let (server, user, most): (String, String, i64) = sqlx::query_as(
            "SELECT CAST(CONCAT_WS(' ', VERSION(), CURRENT_USER()) AS CHAR), CAST(CURRENT_USER() AS CHAR), \
             CAST(@@max_connections AS SIGNED)",
        )
        .fetch_one(&mut *connection)
        .await?;
        let uptime = sqlx::raw_sql(AssertSqlSafe(format!(
            "SET timestamp = {MOMENT}; SHOW GLOBAL STATUS LIKE 'Uptime'; SET timestamp = DEFAULT"
        )))
        .fetch_one(connection)
        .await?;
        let uptime: String = uptime.try_get(1)?;
        let uptime: u64 = uptime.parse().unwrap_or_default();
        let user = match user.rsplit_once('@') {
            Some((name, host)) => format!("'{name}'@'{host}'"),
            None => user,
        };
        Ok(Identity {
            server,
            incarnation: format!("{:08x}", MOMENT.saturating_sub(uptime)),
            user,
            max_connections: u32::try_from(most).unwrap_or(u32::MAX),
        })
    }

    async fn lock(
        connection: &mut MySqlConnection,
        keys: &[String],
        most: usize,
    ) -> sqlx::Result<Vec<String>> {
        let mut locked = Vec::new();
        let mut rest = keys;
        // Asked for as many at a time as are still wanted: each that is asked for is taken.
        while locked.len() < most && !rest.is_empty() {
            let (next, others) = rest.split_at((most - locked.len()).min(rest.len()));
            // The names are ours: letters, digits and `_`.
            let asked: Vec<String> = next
                .iter()
                .map(|key| format!("CAST(GET_LOCK('{key}', 0) AS SIGNED)"))
                .collect();
            let row = sqlx::raw_sql(AssertSqlSafe(format!("SELECT {}", asked.join(", "))))
                .fetch_one(&mut *connection)
                .await?;
            for (column, key) in next.iter().enumerate() {
                if row.try_get::<Option<i64>, _>(column)? == Some(1) {
                    locked.push(key.clone());
                }
            }
            rest = others;
        }
        Ok(locked)
    }

    async fn unlock(connection: &mut MySqlConnection, keys: &[String]) -> sqlx::Result<()> {
        let released = keys.iter().map(|key| format!("RELEASE_LOCK('{key}')"));
        let released: Vec<String> = released.collect();
        execute(connection, format!("DO {}", released.join(", "))).await
    }

    async fn list(connection: &mut MySqlConnection) -> sqlx::Result<Vec<Found>> {
        Ok(names::read(&databases(connection, PREFIX).await?))
    }

    async fn find_template(
        connection: &mut MySqlConnection,
        fingerprint: &str,
        _: &Identity,
    ) -> sqlx::Result<Option<Schema>> {
        let name = names::template(fingerprint);
        let done = names::done(&name);
        let marks = databases(connection, &done).await?;
        if marks.is_empty() {
            return Ok(None);
        }
        let current = format!("{done}{}", today());
        if !marks.contains(&current) {
            // Several processes may do so at the same time, and all come to the same.
            let create = format!("CREATE DATABASE IF NOT EXISTS {current}");
            execute(connection, create).await?;
            for mark in &marks {
                execute(connection, format!("DROP DATABASE IF EXISTS {mark}")).await?;
            }
        }
        match Schema::read(connection, &name).await {
            Ok(schema) => Ok(Some(schema)),
            // Somebody has removed it.
            Err(error) if number(&error) == Some(1049) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn build(
        server: &Server<Self>,
        recipe: &Recipe,
        fingerprint: &str,
    ) -> Result<Schema, Error> {
        let name = names::template(fingerprint);
        make(server, recipe, &name).await?;
        let mut worker = server.worker().await?;
        let schema = Schema::read(&mut worker, &name).await?;
        // What the server has reserved beyond the rows it forgets with its next start, unless it is told to keep it.
        let counters = schema.set_counters(&name);
        if !counters.is_empty() {
            execute(&mut worker, counters).await?;
        }
        let done = format!("CREATE DATABASE {}{}", names::done(&name), today());
        execute(&mut worker, done).await?;
        server.put_back(worker).await;
        Ok(schema)
    }

    async fn clone(
        server: &Server<Self>,
        recipe: &Recipe,
        template: &Template<Self>,
        name: &CloneName<'_>,
    ) -> Result<(), Error> {
        let database = names::clone(name);
        if let Some(script) = template.content.replay(&database) {
            let mut worker = server.worker().await?;
            if let Err(error) = execute(&mut worker, script).await {
                // It may be the connection that failed, or be in the database.
                let _ = worker.close().await;
                let _ = server.drop_only(&database).await;
                return Err(not_made(server, recipe, &error).await);
            }
            server.put_back(worker).await;
        } else {
            make(server, recipe, &database).await?;
        }
        let mut session = server.session().await?;
        let marked = execute(session.connection(), mark_ready(name)).await;
        Ok(session.seen(marked)?)
    }

    async fn begin_lease(
        connection: &mut MySqlConnection,
        database: &str,
        name: &CloneName<'_>,
    ) -> sqlx::Result<Option<(String, ())>> {
        match execute(connection, format!("DROP DATABASE {}", names::ready(name))).await {
            Ok(()) => Ok(Some((database.to_owned(), ()))),
            Err(error) if number(&error) == Some(1008) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn begin_lease_of_kept(
        server: &Server<Self>,
        leased: &Leased<Self>,
        fingerprint: &str,
        _: Option<&mut MySqlConnection>,
    ) -> Result<(), Error> {
        let mut session = server.session().await?;
        let name = leased.clone_name(fingerprint);
        let unmark = format!("DROP DATABASE {}", names::ready(&name));
        let unmarked = execute(session.connection(), unmark).await;
        session.seen(unmarked)?;
        // The session is a new one if the server was started anew.
        if *session.incarnation() == leased.incarnation {
            return Ok(());
        }
        Err(sqlx::Error::WorkerCrashed.into())
    }

    async fn keep(connection: &mut MySqlConnection, database: &str, _: &Test) -> sqlx::Result<()> {
        execute(
            connection,
            format!("CREATE DATABASE {database}_kept_{}", now()),
        )
        .await
    }

    async fn drop(connection: &mut MySqlConnection, database: &str) -> sqlx::Result<()> {
        // The marks first: without them nobody takes the rest for complete.
        for mark in databases(connection, &format!("{database}_")).await? {
            execute(connection, format!("DROP DATABASE IF EXISTS {mark}")).await?;
        }
        let sessions: Vec<i64> = sqlx::query_scalar(
            "SELECT CAST(id AS SIGNED) FROM information_schema.processlist WHERE db = ?",
        )
        .bind(database)
        .fetch_all(&mut *connection)
        .await?;
        for session in sessions {
            // It may have ended by now.
            let _ = execute(connection, format!("KILL {session}")).await;
        }
        // In seconds: what holds a lock for longer is not a test that has ended.
        let drop =
            format!("SET SESSION lock_wait_timeout = 10; DROP DATABASE IF EXISTS {database}");
        execute(connection, drop).await
    }

    async fn sessions(connection: &mut MySqlConnection, database: &str) -> sqlx::Result<i64> {
        sqlx::query_scalar(
            "SELECT CAST(COUNT(*) AS SIGNED) FROM information_schema.processlist WHERE db = ?",
        )
        .bind(database)
        .fetch_one(connection)
        .await
    }

    async fn opened(_: &mut MySqlConnection, (): &mut ()) -> sqlx::Result<()> {
        Ok(())
    }

    fn opened_by_engine((): &mut (), _: i64) {}

    async fn clear_session(_: &mut MySqlConnection) -> sqlx::Result<bool> {
        Ok(false)
    }

    async fn is_alone(
        server: &Server<Self>,
        leased: &Leased<Self>,
        _: Option<&mut MySqlConnection>,
    ) -> Result<bool, Error> {
        Ok(server.until_quiet(&leased.name).await?
            && server.identity().await?.incarnation == leased.incarnation)
    }

    async fn clean(
        server: &Server<Self>,
        template: &Template<Self>,
        leased: &mut Leased<Self>,
        _: Option<&mut MySqlConnection>,
    ) -> Result<bool, Error> {
        if template.content.obstacle() || !server.until_quiet(&leased.name).await? {
            return Ok(false);
        }
        let mut worker = server.worker().await?;
        // A connection with which this has failed is not used again.
        let is_clean = clean::clean(&template.content, &mut worker, &leased.name).await?;
        if is_clean {
            let name = leased.clone_name(&template.fingerprint);
            execute(&mut worker, mark_ready(&name)).await?;
        }
        server.put_back(worker).await;
        Ok(is_clean)
    }

    async fn end_rollback(_: &mut MySqlConnection) -> sqlx::Result<bool> {
        Ok(false)
    }
}

/// The statement that marks a clone as ready.
fn mark_ready(name: &CloneName<'_>) -> String {
    format!("CREATE DATABASE {}", names::ready(name))
}

/// Makes a database by its recipe, in place of whatever has its name. When this fails, nothing is left.
async fn make(server: &Server<MySqlKind>, recipe: &Recipe, name: &str) -> Result<(), Error> {
    let mut worker = server.worker().await?;
    let created = async {
        MySqlKind::drop(&mut worker, name).await?;
        execute(&mut worker, format!("CREATE DATABASE {name}")).await
    };
    let created = created.await;
    server.put_back(worker).await;
    if let Err(error) = created {
        return Err(not_made(server, recipe, &error).await);
    }
    let filled = async { recipe.fill(url::of_database(&recipe.settings, name)?).await };
    let filled = filled.await;
    if filled.is_err() {
        server.drop_only(name).await?;
    }
    filled
}

/// Why a database was not made, and what to do.
async fn not_made(server: &Server<MySqlKind>, recipe: &Recipe, error: &sqlx::Error) -> Error {
    let user = server.identity().await.map(|identity| identity.user);
    let (what, cure) = match (number(error), user) {
        // Access denied to a database, and a command denied on a table of it.
        (Some(1044 | 1142), Ok(user)) => (
            format!(
                "the user {user} has no right to make and use databases whose names begin with {PREFIX}"
            ),
            format!(
                "Grant it with GRANT ALL ON `poolhouse\\_%`.* TO {user}; or write isolation = \"none\""
            ),
        ),
        _ => (
            format!("no database can be made: {}", said(error)),
            "See the server's message and its log".to_owned(),
        ),
    };
    TestError::new(&recipe.settings, what, cure).into()
}

/// What the server said.
fn said(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        error => error.to_string(),
    }
}

/// The server's number of an error.
fn number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?;
    Some(error.try_downcast_ref::<MySqlDatabaseError>()?.number())
}

/// The names of the databases that begin with this.
async fn databases(connection: &mut MySqlConnection, prefix: &str) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT CAST(schema_name AS CHAR) FROM information_schema.schemata WHERE LEFT(schema_name, ?) = ? ORDER BY 1",
    )
    .bind(u32::try_from(prefix.len()).unwrap_or(u32::MAX))
    .bind(prefix)
    .fetch_all(connection)
    .await
}

/// Runs statements without an answer.
async fn execute(connection: &mut MySqlConnection, sql: String) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await
        .map(drop)
}
