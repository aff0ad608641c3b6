//! Tests that `drivers` runs again, in processes of their own, under circumstances that it makes.
//!
//! They pass by themselves too. What is different under a driver is in the environment.

use std::env;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use poolhouse::{PgEngine, with_pool};

/// Set by a driver: what is to happen to the test.
pub(crate) const FATE: &str = "POOLHOUSE_TEST_FATE";

/// Set by a driver: the directory of migrations.
pub(crate) const MIGRATIONS: &str = "POOLHOUSE_TEST_MIGRATIONS";

pub(crate) fn migrations() -> String {
    env::var(MIGRATIONS).unwrap_or_else(|_| "migrations".to_owned())
}

async fn insert_and_count(db: &PgEngine) {
    sqlx::query("INSERT INTO band (id, name) VALUES (1, 'Pythonistas')")
        .execute(db)
        .await
        .unwrap();
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM band")
        .fetch_one(db)
        .await
        .unwrap();
    assert_eq!(rows, 1);
    match env::var(FATE).as_deref() {
        Ok("fail") => panic!("as the driver wishes"),
        // Until the driver kills the process.
        Ok("hang") => tokio::time::sleep(Duration::MAX).await,
        // The first test of the run, until the driver lets it go on.
        Ok(pause) if pause.starts_with("pause ") => {
            let [mine, go_on] = ["begun", "go_on"].map(|name| Path::new(&pause[6..]).join(name));
            if File::create_new(mine).is_ok() {
                while !go_on.exists() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
        _ => {}
    }
}

macro_rules! tests {
    ($($name:ident)*) => {$(
        #[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", migrations = migrations())]
        #[tokio::test]
        async fn $name(db: PgEngine) {
            insert_and_count(&db).await;
        }
    )*};
}

tests!(one two three four five six seven eight);
