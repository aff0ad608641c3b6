//! Tests that `drivers` runs again, in their own processes, under conditions of its choice.
//!
//! They pass by themselves too. Environment variables of a driver set the conditions.

use std::env;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use poolhouse::{PgEngine, with_pool};

/// Set by a driver: the fate of the test.
pub(crate) const FATE: &str = "POOLHOUSE_TEST_FATE";

/// Set by a driver: whether a test queries its database again after its fate.
pub(crate) const ASK_AGAIN: &str = "POOLHOUSE_TEST_ASK_AGAIN";

/// Set by a driver: the directory of migrations.
pub(crate) const MIGRATIONS: &str = "POOLHOUSE_TEST_MIGRATIONS";

pub(crate) fn migrations() -> String {
    env::var(MIGRATIONS).unwrap_or_else(|_| "migrations".to_owned())
}

pub(crate) const INSERT: &str = "INSERT INTO band (id, name) VALUES (1, 'Pythonistas')";
pub(crate) const COUNT: &str = "SELECT count(*) FROM band";

/// Carries out the fate of the test, after its write.
pub(crate) async fn meet_fate() {
    match env::var(FATE).as_deref() {
        Ok("fail") => panic!("as the driver wishes"),
        // Longer than the driver's server leaves a session idle.
        Ok("idle") => tokio::time::sleep(Duration::from_secs(2)).await,
        // Long enough that a run of several tests takes more than a process's turn at the slots.
        Ok("slow") => tokio::time::sleep(Duration::from_millis(400)).await,
        // Until the driver kills the process.
        Ok("hang") => tokio::time::sleep(Duration::MAX).await,
        // The first test of the run waits until the driver lets it continue.
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

/// Tests that write and count their row before their fate, and count again if the driver says so.
macro_rules! tests {
    ($engine:ty, $variable:literal, $($name:ident)*) => {$(
        #[with_pool(env = $variable, migrations = migrations(), acquire_timeout = "5s")]
        #[tokio::test]
        async fn $name(db: $engine) {
            sqlx::query(INSERT).execute(&db).await.unwrap();
            let rows: i64 = sqlx::query_scalar(COUNT).fetch_one(&db).await.unwrap();
            assert_eq!(rows, 1);
            meet_fate().await;
            if env::var(FATE).is_ok_and(|fate| fate == "crowd") {
                // The test holds all its connections at the same time.
                let mut held = Vec::new();
                for _ in 0..5 {
                    held.push(db.acquire().await.unwrap());
                }
            }
            if env::var_os(ASK_AGAIN).is_some() {
                // The first query may find that its connection has ended.
                let _ = sqlx::query(COUNT).execute(&db).await;
                if let Err(error) = sqlx::query(COUNT).execute(&db).await {
                    panic!("refused: {error}");
                }
            }
        }
    )*};
}

tests!(PgEngine, "POOLHOUSE_TESTING_POSTGRES_URL", one two three four five six seven eight);

pub(crate) use tests;
