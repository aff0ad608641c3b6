//! Views and routines on MySQL and MariaDB have the character sets and collations of the session that created them. A database is
//! not used again after a test has created one anew in another session.

use std::env;
use std::process::Command;

use poolhouse::{MySqlEngine, with_pool};
use poolhouse_tests::{Kind, PrivateServer};
use sqlx::Connection;

use crate::minimal::said;

/// A query for the attributes, which are those of the driver's sessions in a new database.
const OTHERS: &str = "
    SELECT CONCAT(routine_name, ' ', character_set_client, ' ', collation_connection) FROM information_schema.routines
        WHERE routine_schema = DATABASE() AND character_set_client <> 'utf8mb4'
    UNION ALL SELECT CONCAT(routine_name, ' of a database with ', database_collation) FROM information_schema.routines
        WHERE routine_schema = DATABASE() AND database_collation = 'latin1_bin'
    UNION ALL SELECT CONCAT(table_name, ' ', character_set_client, ' ', collation_connection) FROM information_schema.views
        WHERE table_schema = DATABASE() AND character_set_client <> 'utf8mb4'";

/// A test that finds nothing, and leaves the effects of these statements of another session.
macro_rules! leaves {
    ($($name:ident: $($sql:expr),*;)*) => {$(
        #[with_pool(env = "POOLHOUSE_TESTING_MYSQL_URL", max_size = 3, fixtures("code"))]
        #[tokio::test]
        async fn $name(db: MySqlEngine) {
            let found: Vec<String> = sqlx::query_scalar(OTHERS).fetch_all(&db).await.unwrap();
            assert_eq!(found, [""; 0], "left by another test");
            let options = db.connect_options();
            let mut another = sqlx::MySqlConnection::connect_with(&options).await.unwrap();
            let statements: &[&'static str] = &[$($sql),*];
            for sql in statements {
                sqlx::raw_sql(*sql).execute(&mut another).await.unwrap();
            }
            another.close().await.unwrap();
        }
    )*};
}

const FUNCTION: &str =
    "CREATE FUNCTION greeting() RETURNS VARCHAR(20) DETERMINISTIC RETURN 'hello'";

leaves! {
    a_function: "SET NAMES latin1", "DROP FUNCTION greeting", FUNCTION;
    another_function: "SET NAMES latin1", "DROP FUNCTION greeting", FUNCTION;
    a_function_of_another_database: "ALTER DATABASE COLLATE latin1_bin", "DROP FUNCTION greeting", FUNCTION,
        "EXECUTE IMMEDIATE CONCAT('ALTER DATABASE COLLATE ', @@collation_server)";
    a_view: "SET NAMES latin1", "CREATE OR REPLACE VIEW bands AS SELECT id, CONCAT(name, '!') AS loud FROM band";
    nothing: "DO 1";
}

mod unchanged {
    use super::*;

    leaves! {
        one: "DO 1";
        two: "INSERT INTO band (id, name) VALUES (1, 'Pythonistas')";
        three: "CREATE TABLE extra (id INTEGER)";
        four: "DO 1";
        five: "DO 1";
        six: "DO 1";
    }
}

/// Rights on a routine, where the user of the tests may grant and read them. With the documented rights, it may not.
mod granted {
    use super::*;

    async fn finds_none_and_grants_one(db: &MySqlEngine) {
        let found: Result<i64, _> = sqlx::query_scalar(
            "SELECT COUNT(*) FROM mysql.procs_priv WHERE db = DATABASE() AND user = 'reader'",
        )
        .fetch_one(db)
        .await;
        let Ok(found) = found else {
            return;
        };
        assert_eq!(found, 0, "left by another test");
        let mut connection = db.acquire().await.unwrap();
        let grant = "CREATE USER IF NOT EXISTS reader@localhost; \
            GRANT EXECUTE ON FUNCTION greeting TO reader@localhost";
        sqlx::raw_sql(grant).execute(&mut connection).await.unwrap();
    }

    #[with_pool(env = "POOLHOUSE_TESTING_MYSQL_URL", fixtures("code"))]
    #[tokio::test]
    async fn one(db: MySqlEngine) {
        finds_none_and_grants_one(&db).await;
    }

    #[with_pool(env = "POOLHOUSE_TESTING_MYSQL_URL", fixtures("code"))]
    #[tokio::test]
    async fn two(db: MySqlEngine) {
        finds_none_and_grants_one(&db).await;
    }
}

/// The right to grant a right that the template has. A user with the documented rights cannot run the fixture.
mod grantable {
    use super::*;

    async fn finds_none_and_grants_one(db: &MySqlEngine) {
        const FOUND: &str = "SELECT COUNT(*) FROM information_schema.table_privileges \
            WHERE table_schema = DATABASE() AND grantee LIKE '%reader%' AND is_grantable = ";
        for (word, expected) in [("'NO'", 1), ("'YES'", 0)] {
            let found = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("{FOUND}{word}")));
            let found: i64 = found.fetch_one(db).await.unwrap();
            assert_eq!(found, expected, "{word}");
        }
        sqlx::raw_sql("GRANT SELECT ON band TO reader@localhost WITH GRANT OPTION")
            .execute(db)
            .await
            .unwrap();
    }

    #[with_pool(env = "POOLHOUSE_TESTING_MYSQL_URL", fixtures("granted"))]
    #[tokio::test]
    #[ignore = "a driver runs it as a superuser"]
    async fn one(db: MySqlEngine) {
        finds_none_and_grants_one(&db).await;
    }

    #[with_pool(env = "POOLHOUSE_TESTING_MYSQL_URL", fixtures("granted"))]
    #[tokio::test]
    #[ignore = "a driver runs it as a superuser"]
    async fn two(db: MySqlEngine) {
        finds_none_and_grants_one(&db).await;
    }
}

#[tokio::test]
async fn a_right_to_grant_does_not_reach_the_next_test() {
    let Some(server) = PrivateServer::require(Kind::MariaDb) else {
        return;
    };
    let server = server.start().await.unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["attributes::grantable::", "--ignored", "--test-threads=1"])
        .env("POOLHOUSE_TESTING_MYSQL_URL", &server.url)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("2 passed"), "{}", said(&output));
}

#[tokio::test]
async fn a_right_on_a_routine_does_not_reach_the_next_test() {
    let Some(server) = PrivateServer::require(Kind::MariaDb) else {
        return;
    };
    let server = server.start().await.unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["attributes::granted::", "--test-threads=1"])
        .env("POOLHOUSE_TESTING_MYSQL_URL", &server.url)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let granted = "SELECT CAST(COUNT(*) AS CHAR) FROM mysql.procs_priv WHERE user = 'reader'";
    let granted = server.ask(&[granted.to_owned()]).await.unwrap();
    assert_ne!(granted, [[Some("0".to_owned())]]);
}

#[tokio::test]
async fn a_database_with_code_is_used_again() {
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
        .args(["attributes::unchanged::", "--test-threads=1"])
        .env("POOLHOUSE_TESTING_MYSQL_URL", &server.url)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let made = "SELECT CAST(LEFT(argument, 100) AS CHAR) FROM mysql.general_log \
        WHERE argument LIKE 'CREATE FUNCTION greeting%'";
    let made = server.ask(&[made.to_owned()]).await.unwrap();
    // The template, and clones that are used in turn.
    assert!((2..=4).contains(&made.len()), "{made:?}");
}
