//! Postgres, as a kind of database server.

use std::sync::Arc;

use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgConnection, Postgres};
use sqlx::{AssertSqlSafe, Connection, Row};
use sqlx_core::transaction::TransactionManager;

use super::baseline::Baseline;
use super::since::{self, Since};
use super::{names, template, types};
use crate::backend::Backend;
use crate::dialect::POSTGRES;
use crate::error::Error;
use crate::pool::Connector;
use crate::settings::EngineSettings;
use crate::testing::options::{DecidesContent, LeadsToServer};
use crate::testing::retention::{self, KEPT};
use crate::testing::server::{
    CloneName, DatabaseState, Found, Identity, Kind, PREFIX, check_session, execute, open,
};
use crate::testing::test::Test;
use crate::testing::url;

/// The database to connect to for work on other databases. Every server has this one, unless it was removed.
///
/// Advisory locks are local to a database. Processes that must use another database, because this one does not admit them,
/// cannot see whether a lease of other processes is held. So the [scope](names) of their databases differs.
const MEETING_DATABASE: &str = "postgres";

/// An SQL expression for the scope of the connection: `s` and a hash of the database's name; empty in [`MEETING_DATABASE`].
fn scope() -> String {
    format!(
        "CASE WHEN current_database() = '{MEETING_DATABASE}' THEN '' \
         ELSE 's' || left(lpad(to_hex(hashtextextended(current_database(), 0)), 16, '0'), 8) END"
    )
}

/// Postgres, as a kind of test server.
pub(super) struct PostgresKind;

/// The first version that compares the version of a database's collation when it copies the database:
/// <https://www.postgresql.org/docs/current/sql-alterdatabase.html>.
const NOTES_COLLATION: u32 = 15_00_00;

/// With these the server notices within a minute that this machine is gone, and releases the locks. Unix sockets ignore them:
/// <https://www.postgresql.org/docs/current/runtime-config-connection.html#GUC-TCP-KEEPALIVES-IDLE>.
const KEEPALIVES: &str =
    "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3";

impl Kind for PostgresKind {
    type DB = Postgres;
    type Content = Baseline;
    type Since = Since;

    const KEEPS_CONNECTIONS: bool = true;

    const SESSION: &'static str = "SELECT set_config(name, '0', false) \
        FROM unnest('{statement_timeout, lock_timeout, idle_session_timeout, transaction_timeout}'::text[]) AS name \
        WHERE current_setting(name, true) IS NOT NULL";

    fn is_lasting(error: &sqlx::Error) -> bool {
        let code = error.as_database_error().and_then(DatabaseError::code);
        code.is_some_and(|code| !passes(&code))
    }

    fn may_be_race(error: &sqlx::Error) -> bool {
        // Roles belong to no database, and templates are made side by side. Which of the two it is depends on the moment.
        let code = error.as_database_error().and_then(DatabaseError::code);
        matches!(code.as_deref(), Some("23505" | "42710"))
    }

    async fn open(settings: &EngineSettings) -> Result<(PgConnection, String), Error> {
        let (mut connection, database) = reach_any(settings).await?;
        if let Err(error) = execute(&mut connection, KEEPALIVES.to_owned()).await {
            tracing::debug!(%error, "the server sets no keepalives of its own");
        }
        Ok((connection, database))
    }

    async fn identity(connection: &mut PgConnection) -> sqlx::Result<Identity> {
        // A start changes the start time, and a crash resets the statistics. A manual reset of the statistics causes the
        // clones to be dropped as well, and so does a new connection to another database, whose locks are others.
        // A template is not copied any more when its collations have changed with the operating system, or when another role
        // of the same name owns it.
        let collation = if connection.server_version_num() >= Some(NOTES_COLLATION) {
            "(SELECT pg_database_collation_actual_version(oid) FROM pg_database WHERE datname = 'template1')"
        } else {
            "NULL"
        };
        let row = sqlx::raw_sql(AssertSqlSafe(format!(
            "SELECT concat_ws(' ', current_setting('server_version_num'), current_user, \
                (SELECT oid FROM pg_roles WHERE rolname = current_user), {collation}, current_database()), \
                left(lpad(to_hex(hashtextextended(concat_ws(' ', pg_postmaster_start_time(), current_database(), \
                    (SELECT stats_reset FROM pg_stat_bgwriter)), 0)), 16, '0'), 8), \
                quote_ident(current_user), \
                least(current_setting('max_connections')::int4 - current_setting('superuser_reserved_connections')::int4 \
                - coalesce(current_setting('reserved_connections', true)::int4, 0), \
                (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user AND rolconnlimit >= 0 AND NOT rolsuper)), {}",
            scope()
        )))
        .fetch_one(connection)
        .await?;
        Ok(Identity {
            server: row.try_get(0)?,
            incarnation: row.try_get(1)?,
            user: row.try_get(2)?,
            max_connections: u32::try_from(row.try_get::<i32, _>(3)?).unwrap_or_default(),
            scope: row.try_get(4)?,
        })
    }

    async fn lock(
        connection: &mut PgConnection,
        keys: &[String],
        most: usize,
    ) -> sqlx::Result<Vec<String>> {
        // Two keys with the same hash only exclude each other.
        sqlx::query_scalar(
            "SELECT key FROM unnest($1::text[]) key \
             WHERE pg_try_advisory_lock(hashtextextended(key, 0)) LIMIT $2",
        )
        .bind(keys)
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await
    }

    async fn unlock(connection: &mut PgConnection, keys: &[String]) -> sqlx::Result<()> {
        sqlx::query(
            "SELECT pg_advisory_unlock(hashtextextended(key, 0)) FROM unnest($1::text[]) key",
        )
        .bind(keys)
        .execute(connection)
        .await
        .map(drop)
    }

    async fn list(connection: &mut PgConnection) -> sqlx::Result<Vec<Found>> {
        // Without the baseline in a template's comment, which is long and not needed here.
        let sql = format!(
            "SELECT datname::text, datconnlimit = -2, left(shobj_description(oid, 'pg_database'), 400), {} \
             FROM pg_database WHERE starts_with(datname, $1) ORDER BY oid",
            scope()
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(PREFIX)
            .fetch_all(connection)
            .await?;
        let mut all = Vec::new();
        for row in rows {
            let Some(mut found) = names::parse(&row.try_get::<String, _>(0)?) else {
                continue;
            };
            if names::scope(&found.fingerprint) != row.try_get::<String, _>(3)? {
                continue;
            }
            let comment: Option<String> = row.try_get(2)?;
            let comment = comment.as_deref().unwrap_or_default();
            if row.try_get(1)? {
                found.state = DatabaseState::Broken;
            } else if let DatabaseState::Template { day } = &mut found.state {
                *day = template::day(comment).unwrap_or_default();
            } else if let Some(incarnation) = names::clean_in(comment) {
                let incarnation = incarnation.to_owned();
                found.state = DatabaseState::Ready { incarnation };
            } else if comment.starts_with(KEPT) {
                // An unreadable mark counts as old.
                let (since, test) = retention::read(comment).unwrap_or_default();
                found.state = DatabaseState::Kept { since, test };
            }
            all.push(found);
        }
        Ok(all)
    }

    async fn find_template(
        connection: &mut PgConnection,
        fingerprint: &str,
        identity: &Identity,
    ) -> sqlx::Result<Option<Baseline>> {
        template::find(connection, fingerprint, identity).await
    }

    async fn begin_lease(
        connection: &mut PgConnection,
        ready: &str,
        name: &CloneName<'_>,
    ) -> sqlx::Result<Option<(String, Since)>> {
        if is_visited(connection, ready).await? {
            // A session may have written, or will. The rename would wait for its end.
            tracing::debug!(database = ready, "a session is in a ready database");
            drop_if_allowed(connection, ready).await?;
            return Ok(None);
        }
        let lease = names::lease(name);
        // The rename fails while a session is in the database, so that no session from before this transaction can still
        // write. A session that has come and gone since the database was shown to be clean has changed the count in its mark; in
        // an unused clone there was none. A crash may lose the transaction, but then it also begins another incarnation.
        let is_untouched = if since::counts_sessions(connection) {
            format!(
                "coalesce({}, '{}') = {}",
                names::marked_sessions("oid"),
                since::UNUSED,
                since::counted("oid"),
            )
        } else {
            // Older servers' databases are used only once.
            "true".to_owned()
        };
        let of_lease = format!("FROM pg_database WHERE datname = '{lease}'");
        let rename = format!(
            "SET LOCAL synchronous_commit = off; ALTER DATABASE {ready} RENAME TO {lease}; \
             SELECT {is_untouched} {of_lease}; COMMENT ON DATABASE {lease} IS NULL; \
             SELECT txid_current(), oid::int8 {of_lease}"
        );
        let renamed = sqlx::raw_sql(AssertSqlSafe(rename))
            .fetch_all(&mut *connection)
            .await;
        match renamed {
            Ok(rows) => {
                let [is_untouched, leased] = rows.as_slice() else {
                    return Err(sqlx::Error::RowNotFound);
                };
                if !is_untouched.try_get::<bool, _>(0)? {
                    tracing::debug!(database = ready, "another session used a ready database");
                    drop_if_allowed(connection, &lease).await?;
                    return Ok(None);
                }
                let xid = leased.try_get::<i64, _>(0)?.unsigned_abs();
                Ok(Some((lease, Since::new(xid, leased.try_get(1)?))))
            }
            Err(sqlx::Error::Database(error)) => {
                tracing::debug!(%error, database = ready, "a ready database cannot be leased");
                // A session is in the database, and may have written.
                if error.code().as_deref() == Some("55006") {
                    drop_if_allowed(connection, ready).await?;
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn keep(connection: &mut PgConnection, database: &str, test: &Test) -> sqlx::Result<()> {
        execute(connection, retention::mark(database, test)).await
    }

    async fn drop(connection: &mut PgConnection, database: &str) -> sqlx::Result<()> {
        let drop = format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)");
        match execute(&mut *connection, drop.clone()).await {
            // A test has made it a template, which the server does not drop.
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42809") => {
                let plain = format!("ALTER DATABASE {database} IS_TEMPLATE false");
                execute(&mut *connection, plain).await?;
                execute(connection, drop).await
            }
            dropped => dropped,
        }
    }

    fn may_be_in_use(error: &sqlx::Error) -> bool {
        let code = error.as_database_error().and_then(DatabaseError::code);
        code.as_deref() == Some("55006")
    }

    async fn end_prepared(connection: &mut PgConnection) -> sqlx::Result<usize> {
        // Only in its own database can one be rolled back: <https://www.postgresql.org/docs/current/sql-rollback-prepared.html>.
        let all: Vec<String> = sqlx::query_scalar(
            "SELECT quote_literal(gid) FROM pg_prepared_xacts WHERE database = current_database()",
        )
        .fetch_all(&mut *connection)
        .await?;
        for gid in &all {
            execute(connection, format!("ROLLBACK PREPARED {gid}")).await?;
        }
        // Nor does the server drop a database with subscriptions. Without its slot, the publisher is not asked:
        // <https://www.postgresql.org/docs/current/sql-dropsubscription.html>.
        let subscriptions: Vec<String> = sqlx::query_scalar(
            "SELECT quote_ident(subname) FROM pg_subscription \
             WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        .fetch_all(&mut *connection)
        .await?;
        for name in &subscriptions {
            for end in [
                format!("ALTER SUBSCRIPTION {name} DISABLE"),
                format!("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)"),
                format!("DROP SUBSCRIPTION {name}"),
            ] {
                execute(connection, end).await?;
            }
        }
        Ok(all.len() + subscriptions.len())
    }

    async fn sessions(connection: &mut PgConnection, database: &str) -> sqlx::Result<usize> {
        let sessions: Vec<i32> = sqlx::query_scalar(
            "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND usesysid IS NOT NULL",
        )
        .bind(database)
        .fetch_all(connection)
        .await?;
        Ok(sessions.len())
    }

    async fn opened(connection: &mut PgConnection, since: &mut Since) -> sqlx::Result<()> {
        since.opened(connection).await
    }

    fn opened_by_engine(since: &mut Since, connections: i64) {
        since.opened_others(connections);
    }

    async fn clear_session(connection: &mut PgConnection) -> sqlx::Result<bool> {
        if <Postgres as sqlx::Database>::TransactionManager::get_transaction_depth(connection) > 0 {
            return Ok(false);
        }
        connection.clear_cached_statements().await?;
        sqlx::raw_sql("DISCARD ALL")
            .execute(&mut *connection)
            .await?;
        // On older servers `DISCARD ALL` ends the role that the connection began with (`ALTER ROLE … SET role`,
        // `options=-c role=…`), and this brings it back: <https://www.postgresql.org/docs/current/sql-set-role.html>. The server
        // does not accept both in one text.
        let mut again = "RESET ROLE".to_owned();
        // An engine that knows the session does not run this again, and it also sets the interval at which the server notices a
        // lost client.
        if let Some(session) = &POSTGRES.session {
            again = format!("{again}; {}", session.identify);
        }
        execute(connection, again).await?;
        Ok(true)
    }

    async fn is_like_new(
        connection: &mut PgConnection,
        baseline: &Baseline,
        since: &Since,
    ) -> sqlx::Result<bool> {
        if baseline.keeps_data || since.keeps_data {
            return Ok(false);
        }
        types::none_is_cached(connection, &baseline.types).await
    }

    fn rollback_restores(_: &Baseline) -> bool {
        true
    }

    async fn end_rollback(connection: &mut PgConnection) -> sqlx::Result<bool> {
        // The count includes those of savepoints that were rolled back. The driver caches types, and these no longer exist.
        // Extensions keep data in the session. Where the server does not count, any write may have made one.
        let made = "SELECT CASE WHEN current_setting('track_counts')::bool OR txid_current_if_assigned() IS NULL THEN \
            pg_stat_get_xact_tuples_inserted('pg_catalog.pg_type'::pg_catalog.regclass) \
            + pg_stat_get_xact_tuples_inserted('pg_catalog.pg_extension'::pg_catalog.regclass) ELSE 1 END";
        let made: i64 = sqlx::raw_sql(made)
            .fetch_one(&mut *connection)
            .await?
            .try_get(0)?;
        while <Postgres as sqlx::Database>::TransactionManager::get_transaction_depth(connection)
            > 0
        {
            <Postgres as sqlx::Database>::TransactionManager::rollback(connection).await?;
        }
        Ok(made == 0 && Self::clear_session(connection).await?)
    }
}

impl DecidesContent for Postgres {
    fn without_location(options: PgConnectOptions) -> PgConnectOptions {
        let options = options.host("").port(0).socket("");
        let options = options.username("").password("").database("");
        options.application_name("").statement_cache_capacity(0)
    }
}

impl LeadsToServer for Postgres {
    fn location(options: &PgConnectOptions) -> String {
        let (host, port, socket) = (options.get_host(), options.get_port(), options.get_socket());
        // The options may set another role.
        let (user, role) = (options.get_username(), options.get_options());
        format!("{:?}", (host, port, socket, user, role))
    }
}

/// Whether a session or a prepared transaction is in a database.
async fn is_visited(connection: &mut PgConnection, database: &str) -> sqlx::Result<bool> {
    // The server's own processes, such as autovacuum, have no user. The rename ends those.
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_stat_get_activity(NULL) JOIN pg_database d ON d.oid = datid \
             WHERE d.datname = $1 AND usesysid IS NOT NULL) \
         OR EXISTS (SELECT FROM pg_prepared_xacts WHERE database = $1)",
    )
    .bind(database)
    .fetch_one(connection)
    .await
}

/// Drops a database that a test cannot have. If the server refuses, because a session of another user is in it, the database
/// is left to a later run, and the test gets another one.
async fn drop_if_allowed(connection: &mut PgConnection, database: &str) -> sqlx::Result<()> {
    match PostgresKind::drop(connection, database).await {
        Err(error @ sqlx::Error::Database(_)) if !Postgres::ends_session(&error) => {
            tracing::debug!(%error, database, "a database that cannot be leased is left");
            // No test gets it, not even after the session has ended: it is of no incarnation of the server.
            execute(connection, names::mark_clean(database, "visited", "")).await
        }
        dropped => dropped,
    }
}

/// Whether an error with this code may not come again: of the connection (08), conflicts (40), full disks and other lacks (53),
/// an operator (57), the system (58, XX), an object in use, and a lock: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn passes(code: &str) -> bool {
    let classes = ["08", "40", "53", "57", "58", "XX"];
    classes.iter().any(|class| code.starts_with(class)) || matches!(code, "55006" | "55P03")
}

/// A connection to a database that may not exist, or not admit this user.
async fn reach(settings: &EngineSettings, database: &str) -> sqlx::Result<PgConnection> {
    let unusable = |error: Error| sqlx::Error::Configuration(Box::new(error));
    let mut settings = settings.clone();
    settings.url = url::of_database(&settings, database).map_err(|error| unusable(error.into()))?;
    let connector = Connector::<Postgres>::new(settings).map_err(unusable)?;
    let connector = Arc::new(connector);
    let opened = connector.connect_for().await?;
    let checked = check_session(&connector.settings, opened.session.is_some());
    checked.map_err(|error| unusable(error.into()))?;
    let connection = opened.take();
    match connector.other_dialect() {
        None => Ok(connection),
        Some(_) => Err(sqlx::Error::Configuration(
            "another database answers".into(),
        )),
    }
}

/// Opens a connection to the database in which processes meet, or else to the configured one. Returns it with its database.
async fn reach_any(settings: &EngineSettings) -> Result<(PgConnection, String), Error> {
    let own = url::database(settings)?.unwrap_or_else(|| MEETING_DATABASE.to_owned());
    match reach(settings, MEETING_DATABASE).await {
        Ok(connection) => return Ok((connection, MEETING_DATABASE.to_owned())),
        // That database does not exist, or does not admit the user, and will not at the next try.
        Err(error) if is_refusal(&error) => {}
        // The server cannot be reached, or has no room. A process must not take its locks elsewhere for that.
        Err(_) => {
            // An error names the configured database.
            open::<Postgres>(settings, &own).await?.close().await?;
            let again = reach(settings, MEETING_DATABASE).await;
            match again {
                Ok(connection) => return Ok((connection, MEETING_DATABASE.to_owned())),
                Err(error) if is_refusal(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    let connection = open::<Postgres>(settings, &own).await?;
    Ok((connection, own))
}

/// Whether the server answered that it does not admit the user to the database, for a reason that does not pass by itself: not
/// a lack of connections (53), nor a start or a stop (57): <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn is_refusal(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Configuration(_) => true,
        error => error
            .as_database_error()
            .and_then(DatabaseError::code)
            .is_some_and(|code| !code.starts_with("53") && !code.starts_with("57")),
    }
}

#[cfg(test)]
mod tests {
    use super::passes;

    #[test]
    fn a_refused_statement_is_refused_again() {
        for code in [
            "42601", "42501", "42P07", "23505", "22P02", "P0001", "0A000",
        ] {
            assert!(!passes(code), "{code}");
        }
        for code in [
            "08006", "40001", "40P01", "53100", "53300", "55006", "55P03", "57014", "57P01",
            "58030",
        ] {
            assert!(passes(code), "{code}");
        }
    }
}
