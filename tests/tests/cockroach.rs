//! Tests of CockroachDB.
//!
//! | module | where it runs |
//! |---|---|
//! | `server` | on the server of `COCKROACH_URL`; without this variable, on the stand-in |
//! | `faults` | on the stand-in, because a fault must come at the right moment |

mod faults;
mod server;

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use poolhouse::{PgEngine, Settings, engine_finder_with};
use poolhouse_tests::{Cockroach, Kind, TestDatabase, servers};

/// A stand-in with its database.
struct Fixture {
    database: TestDatabase,
    double: Cockroach,
}

impl Fixture {
    async fn new() -> anyhow::Result<Option<Self>> {
        let Some(server) = servers::require(Kind::Postgres) else {
            return Ok(None);
        };
        let database = server.database("cockroach").await?;
        let double = Cockroach::before(&database).await?;
        Ok(Some(Self { database, double }))
    }

    fn settings(&self) -> Settings {
        settings(self.double.url())
    }
}

fn settings(url: &str) -> Settings {
    Settings::new().engine("cockroach").url(url).max_size(3)
}

/// Starts an engine and creates an empty table.
async fn started(settings: &Settings) -> anyhow::Result<PgEngine> {
    let engine: PgEngine = engine_finder_with(settings)?;
    engine.start_connection_pool().await?;
    sqlx::raw_sql("CREATE TABLE entry (id INT8 PRIMARY KEY)")
        .execute(&engine)
        .await?;
    Ok(engine)
}

async fn add(engine: &PgEngine, id: i64, attempts: &AtomicU32) -> sqlx::Result<()> {
    engine
        .transaction(async |transaction| {
            attempts.fetch_add(1, Relaxed);
            sqlx::query("INSERT INTO entry VALUES ($1)")
                .bind(id)
                .execute(transaction)
                .await?;
            Ok(())
        })
        .await
}

async fn count(engine: &PgEngine) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT count(*) FROM entry")
        .fetch_one(engine)
        .await
}
