//! The results of several statements, and the numbers of errors.

use futures_util::TryStreamExt;
use sqlx::mysql::{MySqlConnection, MySqlDatabaseError, MySqlRow};
use sqlx::{AssertSqlSafe, Either};

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

/// The statement that counts the sessions in a database.
pub(super) fn ask_sessions(name: &str) -> String {
    format!(
        "SELECT CAST(COUNT(*) AS SIGNED) FROM information_schema.processlist WHERE db = '{name}'"
    )
}
