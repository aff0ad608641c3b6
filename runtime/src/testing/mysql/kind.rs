//! MySQL and MariaDB, as a kind of database server.

use sqlx::error::DatabaseError;
use sqlx::mysql::{MySql, MySqlConnectOptions, MySqlConnection};
use sqlx::{AssertSqlSafe, Row};

use super::marks::{self, Marks};
use super::names;
use super::queries::{SESSIONS, number, sessions_in};
use super::schema::Schema;
use crate::error::Error;
use crate::settings::EngineSettings;
use crate::testing::options::{DecidesContent, LeadsToServer};
use crate::testing::server::{CloneName, Found, Identity, Kind, execute, open};
use crate::testing::test::Test;

/// A fixed second since 1970. The uptime is queried as of this second, so that it is the same until the next start.
const MOMENT: u64 = 2_000_000_000;

/// The error of a statement that would change a read-only database:
/// <https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html#error_er_schema_read_only>.
const READ_ONLY: u16 = 3989;

/// MySQL and MariaDB, as a kind of test server.
pub(super) struct MySqlKind;

impl Kind for MySqlKind {
    type DB = MySql;
    type Content = Schema;
    type Since = ();

    // Variables, temporary tables and locks end only with their session, because the driver cannot reset a session.
    const KEEPS_CONNECTIONS: bool = false;

    // `wait_timeout` is in seconds, at its maximum. MySQL has no limit for statements other than `SELECT`. The other
    // settings are fixed because the definitions that the server shows are run again, and compared with later ones.
    const SESSION: &'static str = "SET SESSION autocommit = 1, wait_timeout = 31536000 /*M!100101 , max_statement_time = 0 */, \
        sql_mode = 'NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION', sql_quote_show_create = 1";

    fn is_lasting(error: &sqlx::Error) -> bool {
        let code = error.as_database_error().and_then(DatabaseError::code);
        code.is_some_and(|code| repeats(&code, number(error)))
    }

    async fn open(settings: &EngineSettings) -> Result<(MySqlConnection, String), Error> {
        // Locks are valid on the whole server, by name: <https://mariadb.com/kb/en/get_lock/>.
        Ok((open::<MySql>(settings, "").await?, String::new()))
    }

    async fn identity(connection: &mut MySqlConnection) -> sqlx::Result<Identity> {
        let (server, user, most, sequence): (String, String, i64, String) = sqlx::query_as(
            "SELECT CAST(CONCAT_WS(' ', VERSION(), CURRENT_USER()) AS CHAR), CAST(CURRENT_USER() AS CHAR), \
             CAST(LEAST(@@max_connections, IF(@@max_user_connections = 0, @@max_connections, @@max_user_connections)) AS SIGNED), \
             CAST(SUBSTRING_INDEX(SUBSTRING_INDEX(UUID(), '-', 4), '-', -1) AS CHAR)",
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
        // A server may start twice in one second. The clock sequence of its UUIDs is drawn at each start, and again when
        // its clock is set back: <https://www.rfc-editor.org/rfc/rfc4122#section-4.1.5>.
        let incarnation = format!("{:08x}{sequence}", MOMENT.saturating_sub(uptime));
        let user = match user.rsplit_once('@') {
            Some((name, host)) => format!("'{name}'@'{host}'"),
            None => user,
        };
        Ok(Identity {
            server,
            // `GET_LOCK` knows no databases.
            scope: String::new(),
            incarnation,
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
        // Requests only as many at a time as are still wanted, because each free one is taken.
        while locked.len() < most && !rest.is_empty() {
            let (next, others) = rest.split_at((most - locked.len()).min(rest.len()));
            // The names need no escaping: they are letters, digits and `_`.
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
        Ok(names::read(&Marks::read(connection).await?))
    }

    async fn find_template(
        connection: &mut MySqlConnection,
        fingerprint: &str,
        identity: &Identity,
    ) -> sqlx::Result<Option<Schema>> {
        // Only of this incarnation: a start of the server empties tables of the engine MEMORY, and a crash loses unwritten
        // rows of other engines.
        let name = names::template(fingerprint);
        let Some(mark) = marks::find(connection, &name, &identity.incarnation).await? else {
            return Ok(None);
        };
        match Schema::read(connection, &name, mark).await {
            Ok(schema) => Ok(Some(schema)),
            // The template was removed.
            Err(error) if number(&error) == Some(1049) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn begin_lease(
        connection: &mut MySqlConnection,
        database: &str,
        name: &CloneName<'_>,
    ) -> sqlx::Result<Option<(String, ())>> {
        let is_ready = marks::take(connection, database, name.incarnation).await?;
        Ok(is_ready.then(|| (database.to_owned(), ())))
    }

    async fn keep(
        connection: &mut MySqlConnection,
        database: &str,
        test: &Test,
    ) -> sqlx::Result<()> {
        marks::set_kept(connection, database, test).await
    }

    async fn removed_all(connection: &mut MySqlConnection) -> sqlx::Result<()> {
        marks::remove_all(connection).await
    }

    async fn drop(connection: &mut MySqlConnection, database: &str) -> sqlx::Result<()> {
        // First: without its mark nobody takes the rest for complete.
        let sessions = marks::remove(connection, database).await?;
        for session in sessions {
            // The session may have ended by now.
            let _ = execute(connection, format!("KILL {session}")).await;
        }
        // In seconds: an ended test does not hold a lock for longer. A prepared transaction holds an InnoDB lock. A foreign key of
        // another database must not keep tables: <https://mariadb.com/kb/en/foreign-keys/>.
        let drop = format!(
            "SET SESSION lock_wait_timeout = 10, innodb_lock_wait_timeout = 10, foreign_key_checks = 0; \
             DROP DATABASE IF EXISTS {database}"
        );
        match execute(&mut *connection, drop.clone()).await {
            // A test has made it read-only, which MySQL has from version 8.0.22 on:
            // <https://dev.mysql.com/doc/refman/8.4/en/alter-database.html>.
            Err(error) if number(&error) == Some(READ_ONLY) => {
                let writable = format!("ALTER DATABASE {database} READ ONLY = 0");
                execute(&mut *connection, writable).await?;
                execute(connection, drop).await
            }
            dropped => dropped,
        }
    }

    async fn sessions(connection: &mut MySqlConnection, database: &str) -> sqlx::Result<usize> {
        let rows = sqlx::raw_sql(SESSIONS).fetch_all(connection).await?;
        Ok(sessions_in(database, &rows)?.len())
    }

    async fn opened(_: &mut MySqlConnection, (): &mut ()) -> sqlx::Result<()> {
        Ok(())
    }

    fn opened_by_engine((): &mut (), _: i64) {}

    async fn clear_session(_: &mut MySqlConnection) -> sqlx::Result<bool> {
        Ok(false)
    }
}

/// Whether an error with this SQL state comes again: of the values (21, 22), the constraints (23) and the statement (42), but no
/// limit of the user (1203, 1226). `HY000` is the state of most other errors, such as that of a full disk.
/// <https://mariadb.com/kb/en/mariadb-error-code-reference/>
fn repeats(state: &str, number: Option<u16>) -> bool {
    let classes = ["21", "22", "23", "42"];
    classes.iter().any(|class| state.starts_with(class)) && !matches!(number, Some(1203 | 1226))
}

impl DecidesContent for MySql {
    fn without_location(options: MySqlConnectOptions) -> MySqlConnectOptions {
        let options = options.host("").port(0).socket("");
        let options = options.username("").password("").database("");
        options.statement_cache_capacity(0)
    }
}

impl LeadsToServer for MySql {
    fn location(options: &MySqlConnectOptions) -> String {
        let (host, port, socket) = (options.get_host(), options.get_port(), options.get_socket());
        format!("{:?}", (host, port, socket, options.get_username()))
    }
}

#[cfg(test)]
mod tests {
    use super::repeats;

    #[test]
    fn a_refused_statement_is_refused_again() {
        for (state, number) in [
            ("42000", 1064),
            ("42S02", 1146),
            ("23000", 1062),
            ("22001", 1406),
        ] {
            assert!(repeats(state, Some(number)), "{number}");
        }
        for (state, number) in [
            ("HY000", 1021),
            ("08S01", 1053),
            ("40001", 1213),
            ("42000", 1226),
        ] {
            assert!(!repeats(state, Some(number)), "{number}");
        }
    }
}
