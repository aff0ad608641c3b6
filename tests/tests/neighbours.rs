//! `#[with_pool]` among everything else that stands on a function, in a signature and in scope.
//!
//! Each of these functions runs: it gets an engine and asks it something. A function called `main` is called here as any
//! other. Each has an engine of its own name, because they run side by side in one process.

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
