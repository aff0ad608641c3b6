//! Start and close by hand, for programs that already have handlers for these events.
//!
//! ```sh
//! cargo run --example event_handlers
//! ```
//!
//! Without the attribute, the program does not listen for signals, and a panic or an early return between the two handlers leaves
//! the pool open. The attribute handles both; see the example `lifespan`.

use std::fs;

use poolhouse::{Settings, SqliteEngine, engine_finder, engine_finder_with};
use sqlx::Sqlite;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().init();

    on_startup().await?;
    let served = serve().await;
    on_shutdown().await?;
    served
}

async fn on_startup() -> Result<(), poolhouse::Error> {
    // With `DATABASE_URL` or a `poolhouse.toml`, `engine_finder` alone is enough.
    let settings = Settings::new()
        .env("EVENT_HANDLERS_DATABASE_URL")
        .url("sqlite:event_handlers.db?mode=rwc")
        .max_size(20);
    let db: SqliteEngine = engine_finder_with(&settings)?;
    db.start_connection_pool().await
}

async fn on_shutdown() -> anyhow::Result<()> {
    let db = engine_finder::<Sqlite>()?;
    let report = db.close_connection_pool().await;
    anyhow::ensure!(report.is_clean(), "{report}");
    fs::remove_file("event_handlers.db")?;
    Ok(())
}

/// The program's own work. The finder returns the engine that the handler has started, so that no argument passes it down.
async fn serve() -> anyhow::Result<()> {
    let db = engine_finder::<Sqlite>()?;
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS visitor (name TEXT NOT NULL);
         INSERT INTO visitor VALUES ('Ferris'), ('Corro');",
    )
    .execute(&db)
    .await?;
    let visitors: Vec<String> = sqlx::query_scalar("SELECT name FROM visitor ORDER BY name")
        .fetch_all(&db)
        .await?;
    println!("Served {}", visitors.join(" and "));
    Ok(())
}
