//! A pool for the duration of one function, inside a program with its own `main`.
//!
//! ```sh
//! cargo run --example lifespan
//! ```
//!
//! Under `#[with_pool]`, any async function but `main` keeps its own parameters, which its caller passes as before. poolhouse
//! fills in those marked `#[pool]`; the caller omits them. Each call starts the pool and closes it. After the last call nothing
//! uses the database, and the program can delete its file.

use std::fs;

use poolhouse::{SqliteEngine, with_pool};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().init();

    let imported = import("Fearless\nZero Cost\nTurbofish").await?;
    println!("{imported} records after the first import");

    let imported = import("Turbofish\nInterior Mutability").await?;
    println!("{imported} records after the second import");

    fs::remove_file("lifespan.db")?;
    Ok(())
}

/// Adds the missing records, and returns the number of all records.
#[with_pool(engine = "lifespan", url = "sqlite:lifespan.db?mode=rwc", max_size = 2)]
async fn import(list: &str, #[pool] db: SqliteEngine) -> Result<i64, sqlx::Error> {
    sqlx::query("CREATE TABLE IF NOT EXISTS record (title TEXT PRIMARY KEY)")
        .execute(&db)
        .await?;
    let mut transaction = db.begin().await?;
    for title in list.lines() {
        sqlx::query("INSERT INTO record (title) VALUES (?) ON CONFLICT DO NOTHING")
            .bind(title)
            .execute(&mut transaction)
            .await?;
    }
    transaction.commit().await?;
    sqlx::query_scalar("SELECT count(*) FROM record")
        .fetch_one(&db)
        .await
}
