//! Foreign keys of other databases on MariaDB that refer to the database of a test.

use std::slice::from_ref;

use poolhouse::{MySqlEngine, with_pool};
use poolhouse_tests::{Kind, PrivateServer, eventually};
use sqlx::AssertSqlSafe;

use crate::minimal::{said, started};
use crate::restarts::{passes, run_of};

/// Tests to which no other database refers, and which refer to theirs from another database.
macro_rules! are_referred_to {
    ($($($name:ident)*: $sql:expr;)*) => {$($(
        #[with_pool(env = "POOLHOUSE_TESTING_MYSQL_URL", fixtures("code"))]
        #[tokio::test]
        #[ignore = "it needs another database, and is run by a driver"]
        async fn $name(db: MySqlEngine) {
            let found: Vec<String> = sqlx::query_scalar(
                "SELECT CAST(CONCAT(constraint_schema, '.', table_name) AS CHAR) \
                 FROM information_schema.referential_constraints \
                 WHERE unique_constraint_schema = DATABASE() AND constraint_schema <> DATABASE()",
            )
            .fetch_all(&db)
            .await
            .unwrap();
            assert_eq!(found, [""; 0], "left by another test");
            let name: String = sqlx::query_scalar("SELECT CAST(DATABASE() AS CHAR)")
                .fetch_one(&db)
                .await
                .unwrap();
            let refer = format!(
                "INSERT INTO band VALUES (1, 'Pythonistas'); \
                 CREATE TABLE poolhouse_other.{} (band INTEGER REFERENCES {name}.band (id)); \
                 INSERT INTO poolhouse_other.{0} VALUES (1); {}",
                stringify!($name),
                $sql
            );
            let mut connection = db.acquire().await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(refer))
                .execute(&mut connection)
                .await
                .unwrap();
        }
    )*)*};
}

mod referred_to {
    use super::*;

    are_referred_to! { one two three four: "DO 1"; }
}

mod referred_to_and_changed {
    use super::*;

    are_referred_to! { five six seven eight: "CREATE VIEW members AS SELECT * FROM member"; }
}

/// Runs four tests with another database, and waits until the databases to which it refers are removed.
async fn are_dropped(tests: &str) {
    let Some(builder) = PrivateServer::require(Kind::MariaDb) else {
        return;
    };
    let server = started(builder).await;
    let other = "CREATE DATABASE poolhouse_other".to_owned();
    server.ask(from_ref(&other)).await.unwrap();
    let output = run_of(&server, tests, 1).arg("--ignored").output().unwrap();
    passes(&output);
    assert!(said(&output).contains("4 passed"), "{}", said(&output));
    let left = "SELECT schema_name FROM information_schema.schemata WHERE schema_name IN \
        (SELECT unique_constraint_schema FROM information_schema.referential_constraints WHERE constraint_schema = 'poolhouse_other')"
        .to_owned();
    // The process may end while it drops the database of its last test, which the next run removes in the background.
    eventually("the databases of the tests are dropped", async || {
        passes(&run_of(&server, "with_mariadb::one", 1).output().unwrap());
        let left = server.ask(from_ref(&left)).await?;
        anyhow::ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_database_to_which_another_one_refers_is_not_used_again() {
    are_dropped("references::referred_to::").await;
}

#[tokio::test]
async fn a_changed_database_to_which_another_one_refers_is_dropped() {
    are_dropped("references::referred_to_and_changed::").await;
}
