//! The work of the handlers, on every framework.

use poolhouse::{Error, RequestTransaction};
use sqlx::Postgres;

use super::requests::{begun, releases, work};

/// Writes a row in the request's transaction, and does the requested work.
///
/// # Errors
///
/// Those of the database.
///
/// # Panics
///
/// When the request asks for a panic.
pub async fn act(what: &str, key: i32, tx: &mut RequestTransaction<Postgres>) -> Result<(), Error> {
    if releases(what) {
        return Ok(());
    }
    begun(key);
    sqlx::query("INSERT INTO entry VALUES ($1)")
        .bind(key)
        .execute(&mut *tx)
        .await?;
    work(what, key).await;
    Ok(())
}
