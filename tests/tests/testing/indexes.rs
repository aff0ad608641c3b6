//! State of indexes on MySQL and MariaDB that `SHOW CREATE TABLE` does not show.

use std::env;
use std::process::Command;

use poolhouse::{MySqlEngine, with_pool};
use poolhouse_tests::{Kind, PrivateServer};

use crate::minimal::said;

/// A test that finds no disabled key and no rows, and leaves the effects of these statements.
macro_rules! leaves {
    ($($name:ident: $sql:expr;)*) => {$(
        #[with_pool(env = "POOLHOUSE_TESTING_MYSQL_URL", fixtures("indexes"))]
        #[tokio::test]
        async fn $name(db: MySqlEngine) {
            let disabled: i64 = sqlx::query_scalar(
                "SELECT COUNT(*) FROM information_schema.statistics \
                 WHERE table_schema = DATABASE() AND comment = 'disabled'",
            )
            .fetch_one(&db)
            .await
            .unwrap();
            assert_eq!(disabled, 0, "left by another test");
            let rows: i64 = sqlx::query_scalar(
                "SELECT COUNT(*) FROM article WHERE MATCH (text) AGAINST ('Pythonistas')",
            )
            .fetch_one(&db)
            .await
            .unwrap();
            assert_eq!(rows, 0, "left by another test");
            let mut connection = db.acquire().await.unwrap();
            sqlx::raw_sql($sql).execute(&mut connection).await.unwrap();
        }
    )*};
}

leaves! {
    disabled_keys: "ALTER TABLE word DISABLE KEYS";
    disabled_keys_with_rows: "INSERT INTO word VALUES (1, 'Pythonistas'); ALTER TABLE word DISABLE KEYS";
    disabled_keys_without_rows: "ALTER TABLE word DISABLE KEYS; INSERT INTO word VALUES (1, 'Pythonistas'); DELETE FROM word";
    nothing: "DO 1";
}

mod full_text {
    use super::*;

    leaves! {
        deleted: "INSERT INTO article VALUES (1, 'Pythonistas'); DELETE FROM article";
        rolled_back: "START TRANSACTION; INSERT INTO article VALUES (1, 'Pythonistas'); ROLLBACK";
    }
}

#[tokio::test]
async fn a_full_text_index_is_always_made_anew() {
    let Some(server) = PrivateServer::require(Kind::MariaDb) else {
        return;
    };
    let server = server
        .setting("general-log", 1)
        .setting("general-log-file", "statements")
        .setting("log-output", "TABLE")
        .start()
        .await
        .unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["indexes::full_text::", "--test-threads=1"])
        .env("POOLHOUSE_TESTING_MYSQL_URL", &server.url)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let emptied = "SELECT CAST(LEFT(argument, 100) AS CHAR) FROM mysql.general_log \
        WHERE argument LIKE 'START TRANSACTION;%TRUNCATE TABLE%article%'";
    let emptied = server.ask(&[emptied.to_owned()]).await.unwrap();
    assert!(!emptied.is_empty());
}
