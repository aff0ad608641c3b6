//! The results of several statements, and the numbers of errors.

use futures_util::TryStreamExt;
use sqlx::mysql::{MySqlConnection, MySqlDatabaseError, MySqlRow};
use sqlx::{AssertSqlSafe, Either, Row};

/// The server's number of an error.
pub(super) fn number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?;
    Some(error.try_downcast_ref::<MySqlDatabaseError>()?.number())
}

/// Runs statements, and returns the rows of each.
pub(super) async fn results(
    connection: &mut MySqlConnection,
    sql: String,
) -> sqlx::Result<Vec<Vec<MySqlRow>>> {
    let mut results = vec![Vec::new()];
    let mut stream = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_many(connection);
    while let Some(step) = stream.try_next().await? {
        match (step, results.last_mut()) {
            (Either::Right(row), Some(last)) => last.push(row),
            _ => results.push(Vec::new()),
        }
    }
    Ok(results)
}

/// The statement that lists sessions. A query of `information_schema.processlist` would make a temporary table in a file.
pub(super) const SESSIONS: &str = "SHOW PROCESSLIST";

/// The ids of the sessions in a database, of the rows of [`SESSIONS`]: <https://mariadb.com/kb/en/show-processlist/>.
pub(super) fn sessions_in<'a>(
    database: &str,
    rows: impl IntoIterator<Item = &'a MySqlRow>,
) -> sqlx::Result<Vec<i64>> {
    let mut sessions = Vec::new();
    for row in rows {
        if row.try_get::<Option<String>, _>("db")?.as_deref() == Some(database) {
            sessions.push(row.try_get_unchecked("Id")?);
        }
    }
    Ok(sessions)
}
