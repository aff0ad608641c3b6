//! `#[with_pool]` with other attributes, with all kinds of signatures and of names in scope.
//!
//! Each of these functions runs a query on its engine. A function called `main` is called like any other. Each function's
//! engine has its own name, because the tests run in one process at the same time.

mod attributes;
mod names;
mod panics;
mod runtimes;
mod signatures;

use poolhouse::SqliteEngine;

/// An answer from the database.
async fn answer(db: &SqliteEngine) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT 42").fetch_one(db).await
}
