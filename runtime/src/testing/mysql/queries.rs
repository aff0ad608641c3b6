//! Small queries, and what errors say.

use sqlx::mysql::{MySqlConnection, MySqlDatabaseError};

/// The server's number of an error.
pub(super) fn number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?;
    Some(error.try_downcast_ref::<MySqlDatabaseError>()?.number())
}

/// The names of the databases that begin with this.
pub(super) async fn databases(
    connection: &mut MySqlConnection,
    prefix: &str,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT CAST(schema_name AS CHAR) FROM information_schema.schemata WHERE LEFT(schema_name, ?) = ? ORDER BY 1",
    )
    .bind(u32::try_from(prefix.len()).unwrap_or(u32::MAX))
    .bind(prefix)
    .fetch_all(connection)
    .await
}
