//! The work of the handlers, on every framework.

use sqlx::PgPool;

use crate::service::requests::{begun, releases, work};

/// Writes a row in a transaction, does the requested work, and commits.
///
/// # Errors
///
/// Those of the database.
///
/// # Panics
///
/// When the request asks for a panic.
pub async fn act(what: &str, key: i32, pool: &PgPool) -> sqlx::Result<()> {
    if releases(what) {
        return Ok(());
    }
    begun(key);
    let mut tx = pool.begin().await?;
    sqlx::query("INSERT INTO entry VALUES ($1)")
        .bind(key)
        .execute(&mut *tx)
        .await?;
    work(what, key).await;
    tx.commit().await
}

/// Checks that the database answers.
///
/// # Errors
///
/// Those of the database.
pub async fn ready(pool: &PgPool) -> sqlx::Result<()> {
    sqlx::query("SELECT 1").execute(pool).await.map(drop)
}
