//! Tests on Postgres.

use std::borrow::Cow;

use poolhouse::{PgEngine, engine_finder, with_pool};
use sqlx::migrate::Migrator;
use sqlx::{PgPool, Postgres};

async fn count(db: &PgEngine) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM band")
        .fetch_one(db)
        .await
        .unwrap()
}

async fn add(db: &PgEngine, id: i32, name: &str) {
    sqlx::query("INSERT INTO band (id, name) VALUES ($1, $2)")
        .bind(id)
        .bind(name)
        .execute(db)
        .await
        .unwrap();
}

#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL")]
#[tokio::test]
async fn a_test_has_the_migrations_of_its_crate(db: PgEngine) {
    assert_eq!(count(&db).await, 0);
    add(&db, 1, "Pythonistas").await;
    assert_eq!(count(&db).await, 1);
}

#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL")]
#[test]
async fn another_test_does_not_see_its_rows(db: PgEngine) {
    assert_eq!(count(&db).await, 0);
    add(&db, 1, "Pythonistas").await;
    assert_eq!(count(&db).await, 1);
}

#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", fixtures("bands"))]
#[tokio::test(flavor = "multi_thread")]
async fn fixtures_are_there(db: PgPool) -> Result<(), sqlx::Error> {
    let there: i64 = sqlx::query_scalar("SELECT count(*) FROM band")
        .fetch_one(&db)
        .await?;
    assert_eq!(there, 2);
    sqlx::query("DELETE FROM band").execute(&db).await?;
    Ok(())
}

#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", fixtures("bands"))]
#[tokio::test]
async fn fixtures_are_there_after_another_test_has_deleted_them(db: PgEngine) {
    assert_eq!(count(&db).await, 2);
    add(&db, 3, "C-Sharps").await;
}

#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL")]
#[tokio::test]
async fn the_finder_finds_the_engine_of_the_test(db: PgEngine) {
    add(&db, 1, "Pythonistas").await;
    let spawned = tokio::spawn(async { count(&engine_finder::<Postgres>().unwrap()).await });
    assert_eq!(spawned.await.unwrap(), 1);
}

/// As of a `sqlx.toml` without and with `create-schemas`.
static NO_SCHEMA: Migrator = Migrator::DEFAULT;
static A_SCHEMA: Migrator = Migrator {
    create_schemas: Cow::Borrowed(&[Cow::Borrowed("tours")]),
    ..Migrator::DEFAULT
};

async fn has_schema(db: &PgEngine) -> bool {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'tours')")
        .fetch_one(db)
        .await
        .unwrap()
}

#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", migrator = NO_SCHEMA)]
#[tokio::test]
async fn no_schema_is_created(db: PgEngine) {
    assert!(!has_schema(&db).await);
}

#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", migrator = A_SCHEMA)]
#[tokio::test]
async fn a_schema_of_the_migrator_is_created(db: PgEngine) {
    assert!(has_schema(&db).await);
}
