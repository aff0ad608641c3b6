//! A fixture that fails half-way: each test names the fixture and the cause, and leaves nothing.

use std::process::Command;

use poolhouse::{MySqlEngine, PgEngine, SqliteEngine, with_pool};
use poolhouse_tests::{Kind, PrivateServer};

use crate::minimal::{self, started};

async fn one_band_and_an_error(db: PgEngine) -> anyhow::Result<()> {
    sqlx::query("INSERT INTO band (id, name) VALUES (1, 'Pythonistas')")
        .execute(&db)
        .await?;
    anyhow::bail!("no second band")
}

#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", fixtures("broken"))]
#[tokio::test]
#[should_panic(expected = "broken.sql")]
async fn a_file_on_postgres(_db: PgEngine) {}

#[with_pool(env = "POOLHOUSE_TESTING_MYSQL_URL", fixtures("broken"))]
#[tokio::test]
#[should_panic(expected = "broken.sql")]
async fn a_file_on_mariadb(_db: MySqlEngine) {}

#[with_pool(
    env = "POOLHOUSE_TESTING_POSTGRES_URL",
    fixtures(one_band_and_an_error)
)]
#[tokio::test]
#[should_panic(expected = "no second band")]
async fn a_function_on_postgres(_db: PgEngine) {}

#[with_pool(
    env = "POOLHOUSE_TESTING_POSTGRES_URL",
    fixtures("broken"),
    isolation = "rollback"
)]
#[tokio::test]
#[should_panic(expected = "broken.sql")]
async fn a_file_on_postgres_with_rollback(_db: PgEngine) {}

/// Only a superuser may create it.
#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", extensions = ["file_fdw"])]
#[tokio::test]
#[should_panic(expected = "the extension file_fdw cannot be created")]
async fn a_missing_extension_on_postgres(_db: PgEngine) {}

/// Tests that expect any panic.
#[allow(clippy::should_panic_without_expect, reason = "it is what they test")]
mod panics {
    use super::*;

    #[with_pool(fixtures("broken"))]
    #[tokio::test]
    #[should_panic]
    #[ignore = "it fails, and is run by a driver"]
    async fn under_tokio(_db: SqliteEngine) {}

    #[with_pool(fixtures("broken"))]
    #[test]
    #[should_panic]
    #[ignore = "it fails, and is run by a driver"]
    async fn alone(_db: SqliteEngine) {}
}

#[test]
fn a_failed_start_is_not_the_panic_that_a_test_expects() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["half_filled::panics::", "--ignored"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("0 passed; 2 failed"), "{said}");
    assert_eq!(said.matches("broken.sql").count(), 2, "{said}");
}

#[tokio::test]
async fn nothing_is_left_on_postgres() {
    nothing_is_left(
        Kind::Postgres,
        "POOLHOUSE_TESTING_POSTGRES_URL",
        "--skip=on_mariadb",
        // A database that the function had filled is clean again, as its comment says.
        "SELECT datname::text FROM pg_database WHERE datname ~ '^poolhouse_.*_(lease|building)' \
         AND coalesce(shobj_description(oid, 'pg_database'), '') !~ '^poolhouse clean ' \
         OR (datname ~ '^poolhouse_' AND datconnlimit = -2)",
    )
    .await;
}

#[tokio::test]
async fn nothing_is_left_on_mariadb() {
    nothing_is_left(
        Kind::MariaDb,
        "POOLHOUSE_TESTING_MYSQL_URL",
        "--skip=on_postgres",
        "SELECT CAST(schema_name AS CHAR) FROM information_schema.schemata \
         WHERE schema_name LIKE 'poolhouse\\_%'",
    )
    .await;
}

/// Runs the tests above twice on their own server, without those of the other database.
async fn nothing_is_left(kind: Kind, variable: &str, others: &str, databases: &str) {
    let Some(builder) = PrivateServer::require(kind) else {
        return;
    };
    let server = started(builder).await;
    for _ in 0..2 {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["half_filled::a_", others])
            .env(variable, minimal::url(&server))
            .env_remove("RUST_BACKTRACE")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
        assert!(!said.contains("0 passed"), "{said}");
        let left = server.ask(&[databases.to_owned()]).await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    }
}
