//! A database on MariaDB that is used again: a test finds no remains of the test before.

use std::env;
use std::process::Command;

use poolhouse::{MySqlEngine, with_pool};
use poolhouse_tests::{Kind, PrivateServer};

/// A query for the differences from a new database with the migrations.
const DIFFERENCES: &str = "
    SELECT 'bands' WHERE EXISTS (SELECT 1 FROM band) UNION ALL SELECT 'members' WHERE EXISTS (SELECT 1 FROM member)
    UNION ALL SELECT 'migrations' WHERE (SELECT COUNT(*) FROM _sqlx_migrations WHERE success) <> 2
    UNION ALL SELECT CONCAT('table ', table_name) FROM information_schema.tables
        WHERE table_schema = DATABASE() AND table_name NOT IN ('band', 'member', '_sqlx_migrations')
    UNION ALL SELECT CONCAT('column ', column_name) FROM information_schema.columns
        WHERE table_schema = DATABASE() AND table_name = 'band' AND column_name NOT IN ('id', 'name')
    UNION ALL SELECT CONCAT('comment ', table_comment) FROM information_schema.tables
        WHERE table_schema = DATABASE() AND table_comment NOT IN ('', 'VIEW')
    UNION ALL SELECT CONCAT('trigger ', trigger_name) FROM information_schema.triggers WHERE trigger_schema = DATABASE()
    UNION ALL SELECT CONCAT('routine ', routine_name) FROM information_schema.routines WHERE routine_schema = DATABASE()
    UNION ALL SELECT CONCAT('event ', event_name) FROM information_schema.events WHERE event_schema = DATABASE()
    UNION ALL SELECT CONCAT('collation ', default_collation_name) FROM information_schema.schemata
        WHERE schema_name = DATABASE() AND default_collation_name = 'latin1_bin'
    UNION ALL SELECT CONCAT('counter ', table_name, ' ', auto_increment) FROM information_schema.tables
        WHERE table_schema = DATABASE() AND auto_increment > 1
    UNION ALL SELECT 'index' FROM information_schema.statistics
        WHERE table_schema = DATABASE() AND index_name = 'of_the_test'
    UNION ALL SELECT 'variable' WHERE @trace IS NOT NULL
    UNION ALL SELECT 'mode' WHERE @@SESSION.sql_mode LIKE '%ANSI_QUOTES%'";

async fn finds_nothing(db: &MySqlEngine) {
    let found: Vec<String> = sqlx::query_scalar(DIFFERENCES).fetch_all(db).await.unwrap();
    assert_eq!(found, [""; 0], "left by another test");
    sqlx::query("INSERT INTO band (id, name) VALUES (1, 'Pythonistas')")
        .execute(db)
        .await
        .unwrap();
}

/// A test that finds nothing, and leaves the effects of these statements.
macro_rules! leaves {
    ($($name:ident: $sql:expr;)*) => {$(
        #[with_pool(env = "POOLHOUSE_TESTING_MYSQL_URL", max_size = 3)]
        #[tokio::test]
        async fn $name(db: MySqlEngine) {
            finds_nothing(&db).await;
            let mut connection = db.acquire().await.unwrap();
            sqlx::raw_sql($sql).execute(&mut connection).await.unwrap();
        }
    )*};
}

mod tables {
    use super::*;

    leaves! {
        a_table: "CREATE TABLE extra (id INTEGER)";
        a_table_that_was_dropped: "CREATE TABLE extra (id INTEGER); DROP TABLE extra";
        a_table_that_refers_to_one: "CREATE TABLE extra (band INTEGER REFERENCES band (id)); INSERT INTO extra VALUES (1)";
        several_tables: "CREATE TABLE `ex``tra` (id INTEGER) ENGINE = MyISAM; CREATE TABLE extra (id INTEGER PRIMARY KEY);
            CREATE TABLE second (id INTEGER PRIMARY KEY, extra INTEGER REFERENCES extra (id))";
    }
}

/// A rollback does not undo what other sessions of a test have written.
mod rolled_back {
    use sqlx::{Connection, MySqlConnection};

    use super::*;

    macro_rules! leaves {
        ($($name:ident: $sql:expr;)*) => {$(
            #[with_pool(env = "POOLHOUSE_TESTING_MYSQL_URL", isolation = "rollback", max_size = 3)]
            #[tokio::test]
            async fn $name(db: MySqlEngine) {
                finds_nothing(&db).await;
                let options = db.connect_options();
                let mut another = MySqlConnection::connect_with(&options).await.unwrap();
                sqlx::raw_sql($sql).execute(&mut another).await.unwrap();
                another.close().await.unwrap();
            }
        )*};
    }

    leaves! {
        // Not in the table to which the open transaction has written.
        rows: "SET SESSION foreign_key_checks = 0; INSERT INTO member VALUES (1, 7, 'Ada')";
        rows_once_more: "SET SESSION foreign_key_checks = 0; INSERT INTO member VALUES (1, 7, 'Ada')";
        a_table: "CREATE TABLE extra (id INTEGER)";
        a_table_once_more: "CREATE TABLE extra (id INTEGER)";
    }
}

/// Tables with many rows are truncated, and others are deleted from.
mod many_rows {
    use super::*;

    macro_rules! leaves {
        ($($name:ident: $sql:expr;)*) => {$(
            #[with_pool(env = "POOLHOUSE_TESTING_MYSQL_URL", max_size = 3, fixtures("many_bands"))]
            #[tokio::test]
            async fn $name(db: MySqlEngine) {
                let bands: (i64, i64) =
                    sqlx::query_as("SELECT COUNT(*), CAST(SUM(name = CONCAT('band ', id)) AS SIGNED) FROM band")
                        .fetch_one(&db)
                        .await
                        .unwrap();
                assert_eq!(bands, (2000, 2000), "left by another test");
                sqlx::query($sql).execute(&db).await.unwrap();
            }
        )*};
    }

    leaves! {
        changed: "UPDATE band SET name = 'Pythonistas' WHERE id = 1500";
        fewer: "DELETE FROM band WHERE id > 1990";
        none: "DELETE FROM band";
        more: "INSERT INTO band VALUES (0, 'C-Sharps')";
        the_same: "DO 1";
    }
}

leaves! {
    rows: "INSERT INTO band VALUES (2, 'C-Sharps')";
    rows_once_more: "INSERT INTO band VALUES (2, 'C-Sharps'), (3, 'Rustaceans')";
    no_rows: "DELETE FROM band";
    rows_that_were_rolled_back: "START TRANSACTION; INSERT INTO band VALUES (2, 'C-Sharps'); ROLLBACK";
    an_open_transaction: "START TRANSACTION; INSERT INTO band VALUES (2, 'C-Sharps')";
    a_missing_migration: "DELETE FROM _sqlx_migrations WHERE version = 2";
    another_migration: "UPDATE _sqlx_migrations SET success = false";
    a_table_that_one_refers_to: "SET SESSION foreign_key_checks = 0; CREATE TABLE extra (id INTEGER PRIMARY KEY);
        ALTER TABLE band ADD FOREIGN KEY (id) REFERENCES extra (id)";
    a_table_that_replaces_another: "DROP TABLE member; CREATE TABLE member (id INTEGER)";
    a_table_with_a_trigger: "CREATE TABLE extra (id INTEGER);
        CREATE TRIGGER nothing BEFORE INSERT ON extra FOR EACH ROW SET NEW.id = 1";
    a_table_with_a_view: "CREATE TABLE extra (id INTEGER); CREATE VIEW extras AS SELECT * FROM extra";
    a_column: "ALTER TABLE band ADD COLUMN founded INTEGER";
    a_missing_table: "DROP TABLE member";
    a_trigger: "CREATE TRIGGER nothing BEFORE INSERT ON band FOR EACH ROW SET NEW.name = 'of the test'";
    a_view: "CREATE VIEW bands AS SELECT * FROM band";
    a_function: "CREATE FUNCTION seven() RETURNS INT DETERMINISTIC RETURN 7";
    an_event: "CREATE EVENT later ON SCHEDULE EVERY 1 DAY DO DELETE FROM band";
    a_sequence: "CREATE SEQUENCE counted";
    a_versioned_table: "ALTER TABLE member ADD SYSTEM VERSIONING";
    emptied_tables: "SET SESSION foreign_key_checks = 0; TRUNCATE TABLE band";
    a_counter: "ALTER TABLE band AUTO_INCREMENT = 77";
    an_index: "CREATE INDEX of_the_test ON band (name)";
    a_comment: "ALTER TABLE band COMMENT = 'of the test'";
    a_temporary_table: "CREATE TEMPORARY TABLE band (id INTEGER)";
    a_setting_of_the_session: "SET SESSION sql_mode = 'ANSI_QUOTES'; SET @trace = 1";
    a_setting_of_the_database: "ALTER DATABASE CHARACTER SET latin1 COLLATE latin1_bin";
    a_lock: "LOCK TABLES band WRITE";
    a_prepared_transaction: "XA START 'trace'; INSERT INTO band VALUES (2, 'C-Sharps'); XA END 'trace'; XA ROLLBACK 'trace'";
}

/// Runs tests of this file one after another, twice, and returns the number of times that the schema was replayed.
async fn replays(tests: &str) -> Option<usize> {
    let server = PrivateServer::require(Kind::MariaDb)?;
    let server = server
        .setting("general-log", 1)
        .setting("general-log-file", "statements")
        .setting("log-output", "TABLE")
        .start()
        .await
        .unwrap();
    for _ in 0..2 {
        let output = Command::new(env::current_exe().unwrap())
            .args([
                tests,
                "--skip",
                "alone",
                "--skip",
                "many_rows",
                "--skip",
                "rolled_back",
                "--test-threads=1",
            ])
            .env("POOLHOUSE_TESTING_MYSQL_URL", &server.url)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
    }
    // A replay is one query with all statements of the schema.
    let made = "SELECT CAST(LEFT(argument, 100) AS CHAR) FROM mysql.general_log \
        WHERE argument LIKE 'DELETE FROM%DROP DATABASE IF EXISTS%CREATE TABLE `band`%'";
    let made = server.ask(&[made.to_owned()]).await.unwrap();
    Some(made.len())
}

#[tokio::test]
async fn a_changed_schema_alone_is_made_anew() {
    if let Some(made) = replays("used_again::").await {
        // In each run fifteen tests change the schema. Up to three clones are used in turn, and some are left for the next run.
        assert!((30..=36).contains(&made), "{made}");
    }
}

#[tokio::test]
async fn tables_of_a_test_alone_are_dropped() {
    if let Some(made) = replays("used_again::tables::").await {
        assert!((1..=3).contains(&made), "{made}");
    }
}
