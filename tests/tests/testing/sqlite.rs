//! Tests on SQLite, which needs no setup.

use poolhouse::{Checkout, SqliteEngine, engine_finder, with_pool};
use sqlx::{Sqlite, SqlitePool};

async fn count(db: &SqliteEngine) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM band")
        .fetch_one(db)
        .await
        .unwrap()
}

async fn add(db: &SqliteEngine, name: &str) {
    sqlx::query("INSERT INTO band (name) VALUES (?)")
        .bind(name)
        .execute(db)
        .await
        .unwrap();
}

#[with_pool]
#[tokio::test]
async fn a_test_has_the_migrations_of_its_crate(db: SqliteEngine) {
    assert_eq!(count(&db).await, 0);
    add(&db, "Pythonistas").await;
    assert_eq!(count(&db).await, 1);
}

#[with_pool]
#[test]
async fn another_test_does_not_see_its_rows(db: SqliteEngine) {
    assert_eq!(count(&db).await, 0);
    add(&db, "Pythonistas").await;
    assert_eq!(count(&db).await, 1);
}

crate::macros::counts_bands!(fixtures_of_a_macro_in_another_folder_are_there);

#[with_pool(fixtures("bands"))]
#[tokio::test(flavor = "multi_thread")]
async fn fixtures_are_there(db: SqliteEngine) -> Result<(), sqlx::Error> {
    assert_eq!(count(&db).await, 2);
    Ok(())
}

#[with_pool(fixtures("bands"))]
#[tokio::test]
async fn a_setting_of_a_parameter_keeps_fixtures_and_migrations(
    #[pool(max_size = 2)] db: SqliteEngine,
) {
    assert_eq!((count(&db).await, db.status().max), (2, 2));
}

async fn three_bands(db: SqliteEngine) -> Result<(), sqlx::Error> {
    for name in ["Pythonistas", "Rustaceans", "C-Sharps"] {
        sqlx::query("INSERT INTO band (name) VALUES (?)")
            .bind(name)
            .execute(&db)
            .await?;
    }
    Ok(())
}

#[with_pool(fixtures(three_bands))]
#[tokio::test]
async fn a_fixture_may_be_a_function(db: SqliteEngine) {
    assert_eq!(count(&db).await, 3);
}

#[with_pool]
#[tokio::test]
async fn the_finder_finds_the_engine_of_the_test(db: SqliteEngine) {
    add(&db, "Pythonistas").await;
    let found = engine_finder::<Sqlite>().unwrap();
    assert_eq!(count(&found).await, 1);
    let spawned = tokio::spawn(async { count(&engine_finder::<Sqlite>().unwrap()).await });
    assert_eq!(spawned.await.unwrap(), 1);
}

#[with_pool(fixtures("bands"))]
#[tokio::test]
async fn every_parameter_is_of_the_same_database(
    db: SqliteEngine,
    mut checkout: Checkout<Sqlite>,
    #[pool(engine = "other", fixtures(three_bands), migrations = "migrations")] other: SqlitePool,
) {
    assert_eq!(count(&db).await, 2);
    let there: i64 = sqlx::query_scalar("SELECT count(*) FROM band")
        .fetch_one(&mut checkout)
        .await
        .unwrap();
    assert_eq!(there, 2);
    let there: i64 = sqlx::query_scalar("SELECT count(*) FROM band")
        .fetch_one(&other)
        .await
        .unwrap();
    assert_eq!(there, 3);
}

#[with_pool]
#[tokio::test]
#[should_panic(expected = "as it should")]
async fn a_panic_may_be_what_is_expected(db: SqliteEngine) {
    assert_eq!(count(&db).await, 0);
    panic!("as it should");
}
