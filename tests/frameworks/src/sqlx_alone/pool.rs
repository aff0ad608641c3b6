//! The pool, with sqlx's defaults except for the environment's values.

use std::env;
use std::time::Duration;

use anyhow::Context;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

/// Connects to `DATABASE_URL`, with `MAX_CONNECTIONS` and `ACQUIRE_TIMEOUT_MS` if they are set.
///
/// # Errors
///
/// A variable that is missing or no number, and a failed connect.
pub async fn connect() -> anyhow::Result<PgPool> {
    let mut options = PgPoolOptions::new();
    if let Ok(max) = env::var("MAX_CONNECTIONS") {
        options = options.max_connections(max.parse()?);
    }
    if let Ok(timeout) = env::var("ACQUIRE_TIMEOUT_MS") {
        options = options.acquire_timeout(Duration::from_millis(timeout.parse()?));
    }
    let url = env::var("DATABASE_URL").context("DATABASE_URL is not set")?;
    Ok(options.connect(&url).await?)
}
