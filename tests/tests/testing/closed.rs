//! A connection that an engine closes in the middle of a test ends on the server, as it does outside of tests.

use poolhouse::testing::cancel_everywhere;
use poolhouse::{PgEngine, with_pool};
use poolhouse_tests::eventually;
use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// The driver gives the lock of a failed run back only with its session.
#[with_pool(
    env = "POOLHOUSE_TESTING_POSTGRES_URL",
    migrations = false,
    session = "SET lock_timeout = '10s'"
)]
#[tokio::test]
async fn migrations_run_after_a_failed_run(db: PgEngine) {
    db.migrate(&migrator("CREATE nothing")).await.unwrap_err();
    db.migrate(&migrator("CREATE TABLE made (id INTEGER)"))
        .await
        .unwrap();
    let made = sqlx::query("SELECT id FROM made").execute(&db).await;
    made.unwrap();
}

fn migrator(sql: &'static str) -> Migrator {
    let (kind, sql) = (MigrationType::Simple, sql.into_sql_str());
    Migrator::with_migrations(vec![Migration::new(1, "one".into(), kind, sql, false)])
}

#[with_pool(
    env = "POOLHOUSE_TESTING_POSTGRES_URL",
    session = "SET lock_timeout = '10s'"
)]
#[tokio::test]
async fn its_locks_end_with_it(db: PgEngine) {
    let mut checkout = db.acquire().await.unwrap();
    sqlx::query("SELECT pg_advisory_lock(1)")
        .execute(&mut checkout)
        .await
        .unwrap();
    checkout.close().await.unwrap();
    let lock = sqlx::query("SELECT pg_advisory_lock(1)");
    lock.execute(&db).await.unwrap();
}

#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", max_size = 1)]
#[tokio::test]
async fn there_are_no_more_sessions_than_slots(db: PgEngine) {
    for _ in 0..3 {
        db.evict();
        sqlx::query("SELECT 1").execute(&db).await.unwrap();
    }
    eventually("the evicted sessions end", async || {
        let sessions: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'",
        )
        .fetch_one(&db)
        .await?;
        anyhow::ensure!(sessions == 1, "{sessions}");
        Ok(())
    })
    .await
    .unwrap();
}

#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", max_size = 2)]
#[tokio::test]
async fn the_pool_knows_all_sessions_after_an_eviction(db: PgEngine) {
    cancel_everywhere(async || {
        db.evict();
        sqlx::query("SELECT 1").execute(&db).await
    })
    .await;
}
