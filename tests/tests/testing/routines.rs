//! Parts of routines on MariaDB that `information_schema` does not show.

use poolhouse::{MySqlEngine, with_pool};
use poolhouse_tests::{Kind, PrivateServer};
use sqlx::Row;

use crate::minimal::started;
use crate::restarts::{passes, run_of};

/// Tests that find the routines of the fixture, and leave the effects of a statement.
macro_rules! leave {
    ($($($name:ident)*: $sql:expr;)*) => {$($(
        #[with_pool(env = "POOLHOUSE_TESTING_MYSQL_URL", fixtures("routines"))]
        #[tokio::test]
        async fn $name(db: MySqlEngine) {
            let same: i64 = sqlx::query_scalar("SELECT CAST(same('a', 'A') AS SIGNED)")
                .fetch_one(&db)
                .await
                .unwrap();
            assert_eq!(same, 1, "the collation of another test");
            let note = sqlx::raw_sql("SHOW CREATE PROCEDURE note")
                .fetch_one(&db)
                .await
                .unwrap();
            let note: String = note.try_get(2).unwrap();
            assert!(note.contains("VARCHAR(10)"), "of another test: {note}");
            sqlx::raw_sql($sql).execute(&db).await.unwrap();
        }
    )*)*};
}

mod changed {
    use super::*;

    leave! {
        collation_1 collation_2 collation_3 collation_4:
            "CREATE OR REPLACE FUNCTION same(a VARCHAR(10) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
                b VARCHAR(10) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin) RETURNS INT DETERMINISTIC RETURN a = b";
        field_1 field_2 field_3 field_4:
            "CREATE OR REPLACE PROCEDURE note(entry ROW(word VARCHAR(20))) DETERMINISTIC SET @note = entry.word";
    }
}

mod same {
    use super::*;

    leave! {
        nothing_1 nothing_2 nothing_3 nothing_4 nothing_5 nothing_6: "DO 1";
    }
}

#[tokio::test]
async fn no_test_has_a_routine_that_another_has_changed() {
    if let Some(builder) = PrivateServer::require(Kind::MariaDb) {
        let server = started(builder).await;
        passes(&run_of(&server, "routines::changed::", 1).output().unwrap());
    }
}

#[tokio::test]
async fn a_database_with_routines_is_used_again() {
    let Some(builder) = PrivateServer::require(Kind::MariaDb) else {
        return;
    };
    let builder = builder
        .setting("general-log", 1)
        .setting("general-log-file", "statements")
        .setting("log-output", "TABLE");
    // The user has the documented rights only.
    let server = started(builder).await;
    passes(&run_of(&server, "routines::same::", 1).output().unwrap());
    let made = "SELECT 1 FROM mysql.general_log WHERE argument LIKE 'CREATE FUNCTION same%'";
    let made = server.ask(&[made.to_owned()]).await.unwrap().len();
    // The template, and up to three clones that are used in turn.
    assert!((1..=4).contains(&made), "{made} databases for six tests");
}
