//! Tests on MySQL and MariaDB.

use poolhouse::{MySqlEngine, with_pool};
use sqlx::{Connection, MySqlConnection};

async fn count(db: &MySqlEngine) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM band")
        .fetch_one(db)
        .await
        .unwrap()
}

const ADD: &str = "INSERT INTO band (id, name) VALUES (7, 'Pythonistas')";

#[with_pool(env = "POOLHOUSE_TESTING_MYSQL_URL")]
#[tokio::test]
async fn a_test_has_the_migrations_of_its_crate(db: MySqlEngine) {
    assert_eq!(count(&db).await, 0);
    sqlx::query(ADD).execute(&db).await.unwrap();
    assert_eq!(count(&db).await, 1);
}

#[with_pool(env = "POOLHOUSE_TESTING_MYSQL_URL")]
#[test]
async fn another_test_does_not_see_its_rows(db: MySqlEngine) {
    assert_eq!(count(&db).await, 0);
    sqlx::query(ADD).execute(&db).await.unwrap();
    assert_eq!(count(&db).await, 1);
}

#[with_pool(env = "POOLHOUSE_TESTING_MYSQL_URL", fixtures("bands"))]
#[tokio::test]
async fn fixtures_are_there(db: MySqlEngine) {
    assert_eq!(count(&db).await, 2);
}

#[with_pool(env = "POOLHOUSE_TESTING_MYSQL_URL", isolation = "rollback")]
#[tokio::test]
async fn nothing_is_committed(db: MySqlEngine) {
    let mut transaction = db.begin().await.unwrap();
    sqlx::query(ADD).execute(&mut transaction).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(count(&db).await, 1);
    let mut second = MySqlConnection::connect_with(&db.connect_options())
        .await
        .unwrap();
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM band")
        .fetch_one(&mut second)
        .await
        .unwrap();
    assert_eq!(seen, 0);
}
