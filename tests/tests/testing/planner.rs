//! The data of Postgres's planner about the tables does not reach the next test.

use std::env;
use std::process::Command;
use std::str::FromStr;

use poolhouse::{PgEngine, with_pool};
use poolhouse_tests::{Kind, PrivateServer};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection};

use crate::minimal::said;

/// A query for the noted sizes and the statistics of tables, except those that the fixture makes.
const KNOWN: &str = "
    SELECT relname || ' has ' || reltuples FROM pg_class WHERE relname IN ('band', 'member') AND reltuples >= 0
    UNION ALL SELECT 'statistics of ' || tablename || '.' || attname FROM pg_stats
        WHERE schemaname = 'public' AND tablename <> 'color'
    UNION ALL SELECT 'no statistics of color' WHERE NOT EXISTS (SELECT FROM pg_stats WHERE tablename = 'color')
        AND to_regclass('color') IS NOT NULL";

async fn knows_nothing(db: &PgEngine) {
    let known: Vec<String> = sqlx::query_scalar(KNOWN).fetch_all(db).await.unwrap();
    assert_eq!(known, [""; 0], "left by another test");
}

/// A test that finds nothing, and leaves the effects of these statements.
macro_rules! leaves {
    ($($fixtures:literal $name:ident: $($sql:expr),*;)*) => {$(
        #[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", max_size = 3, fixtures($fixtures))]
        #[tokio::test]
        async fn $name(db: PgEngine) {
            knows_nothing(&db).await;
            let statements: &[&'static str] = &[$($sql),*];
            for sql in statements {
                sqlx::query(*sql).execute(&db).await.unwrap();
            }
        }
    )*};
}

const ROWS: &str = "INSERT INTO member SELECT n, 1, 'Anna' FROM generate_series(1, 90) n";

/// From version 18 on. The table has no noted size then.
const RESTORE: &str = "DO $$ BEGIN IF current_setting('server_version_num')::integer >= 180000 THEN
    PERFORM pg_restore_attribute_stats('schemaname', 'public', 'relname', 'member', 'attname', 'name',
        'inherited', false, 'null_frac', 0.5::real, 'avg_width', 7, 'n_distinct', 3::real);
    END IF; END $$";

mod of_tables {
    use super::*;

    leaves! {
        "bands" a_analyzed: "ANALYZE";
        "bands" b_analyzed_with_rows: ROWS, "ANALYZE";
        "bands" c_analyzed_and_deleted: ROWS, "ANALYZE member", "DELETE FROM member";
        "bands" d_analyzed_and_vacuumed: ROWS, "ANALYZE member", "DELETE FROM member", "VACUUM member";
        "bands" e_analyzed_and_truncated: ROWS, "ANALYZE member", "TRUNCATE member";
        "bands" f_restored: RESTORE;
        "bands" f_vacuumed: "VACUUM band";
        "bands" g_nothing: "SELECT 1";
        "sizes" h_analyzed: "ANALYZE";
        "sizes" i_of_one: "ANALYZE size";
        "sizes" j_of_a_column: "ANALYZE size (name)";
        "sizes" k_nothing: "SELECT 1";
    }
}

/// A template with sizes and statistics is as good as any other.
mod same {
    use super::*;

    leaves! {
        "sizes" one: ROWS;
        "sizes" two: ROWS;
        "sizes" three: "ALTER SEQUENCE IF EXISTS unknown RESTART";
        "sizes" four: ROWS;
        "sizes" five: "CREATE TABLE extra (id integer)";
        "sizes" six: ROWS;
    }
}

/// A rollback does not undo the noted sizes of tables.
mod rolled_back {
    use super::*;

    macro_rules! leaves {
        ($($name:ident: $($sql:expr),*;)*) => {$(
            #[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", fixtures("bands"), isolation = "rollback")]
            #[tokio::test]
            async fn $name(db: PgEngine) {
                knows_nothing(&db).await;
                let statements: &[&'static str] = &[$($sql),*];
                for sql in statements {
                    sqlx::query(*sql).execute(&db).await.unwrap();
                }
            }
        )*};
    }

    leaves! {
        a_analyzed: ROWS, "ANALYZE";
        b_with_an_index: "CREATE INDEX extra ON band (name)";
        c_nothing: "SELECT 1";
        d_analyzed: "ANALYZE band";
        e_nothing: "SELECT 1";
        f_nothing: "SELECT 1";
        g_nothing: "SELECT 1";
        h_nothing: "SELECT 1";
    }
}

/// A rollback does not undo the noted sizes of indexes, also where those of the table stay the same.
mod of_indexes {
    use super::*;

    macro_rules! leaves {
        ($($isolation:literal $($name:ident)*;)*) => {$($(
            #[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", fixtures("partial"), isolation = $isolation)]
            #[tokio::test]
            async fn $name(db: PgEngine) {
                let rows = "SELECT reltuples FROM pg_class WHERE relname = 'loud_label'";
                let rows: f32 = sqlx::query_scalar(rows).fetch_one(&db).await.unwrap();
                assert_eq!(rows.to_string(), "0", "left by another test");
                let mut transaction = db.begin().await.unwrap();
                for sql in ["UPDATE label SET name = 'loud'", "ANALYZE label"] {
                    sqlx::query(sql).execute(&mut transaction).await.unwrap();
                }
                transaction.rollback().await.unwrap();
            }
        )*)*};
    }

    leaves! {
        "database" one two three four;
        "rollback" one_rolled_back two_rolled_back three_rolled_back four_rolled_back;
    }
}

#[tokio::test]
async fn the_sizes_of_indexes_do_not_reach_the_next_test() {
    let Some(server) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = server.start().await.unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["planner::of_indexes::", "--test-threads=1"])
        .env("POOLHOUSE_TESTING_POSTGRES_URL", &server.url)
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[tokio::test]
async fn a_database_in_which_tests_roll_back_is_used_again_without_statistics() {
    let Some(server) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = server
        .setting("log_statement", "ddl")
        .start()
        .await
        .unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["planner::rolled_back::", "--test-threads=1"])
        .env("POOLHOUSE_TESTING_POSTGRES_URL", &server.url)
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let log = server.log().unwrap();
    let copies = log.lines_with(&["CREATE DATABASE", "TEMPLATE"]).unwrap();
    // Three of eight tests use up their database; the others share theirs. Some are made in advance.
    assert!(copies.len() <= 8, "{copies:?}");
}

#[tokio::test]
async fn a_database_with_statistics_is_used_again() {
    let Some(server) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = server
        .setting("log_statement", "ddl")
        .start()
        .await
        .unwrap();
    for tests in ["planner::of_tables::", "planner::same::"] {
        let output = Command::new(env::current_exe().unwrap())
            .args([tests, "--test-threads=1"])
            .env("POOLHOUSE_TESTING_POSTGRES_URL", &server.url)
            .env_remove("RUST_BACKTRACE")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }
    let log = server.log().unwrap();
    let copies = log.lines_with(&["CREATE DATABASE", "TEMPLATE"]).unwrap();
    // Ten of the first run's tests leave a database that is dropped, and one more on Postgres 18; the second run needs no more than
    // its spare clones.
    assert!(copies.len() <= 18, "{copies:?}");
}

/// Tests that find no rows of another one, whatever is known of the tables.
mod later {
    use super::*;

    macro_rules! writes {
        ($($name:ident)*) => {$(
            #[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", max_size = 3, fixtures("sizes"))]
            #[tokio::test]
            async fn $name(db: PgEngine) {
                sqlx::query(ROWS).execute(&db).await.unwrap();
                let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM member")
                    .fetch_one(&db)
                    .await
                    .unwrap();
                assert_eq!(rows, 90);
            }
        )*};
    }

    writes!(one two three four five six);
}

/// The server's autovacuum analyzes a template at any time.
#[tokio::test]
async fn a_template_that_is_analyzed_later_is_as_good() {
    let Some(server) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = server
        .setting("log_statement", "ddl")
        .start()
        .await
        .unwrap();
    let run = |tests: &str| {
        let output = Command::new(env::current_exe().unwrap())
            .args([tests, "--test-threads=1"])
            .env("POOLHOUSE_TESTING_POSTGRES_URL", &server.url)
            .env_remove("RUST_BACKTRACE")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", said(&output));
    };
    run("planner::later::one");
    let mut superuser = PgConnection::connect(&server.url).await.unwrap();
    let names: Vec<(String, bool)> = sqlx::query_as(
        "SELECT datname::text, datallowconn FROM pg_database WHERE datname LIKE 'poolhouse%'",
    )
    .fetch_all(&mut superuser)
    .await
    .unwrap();
    let mut analyzed = 0;
    for (name, is_clone) in names {
        if is_clone {
            let drop = format!("DROP DATABASE {name}");
            sqlx::raw_sql(AssertSqlSafe(drop))
                .execute(&mut superuser)
                .await
                .unwrap();
            continue;
        }
        let allow =
            |allow: bool| AssertSqlSafe(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {allow}"));
        sqlx::raw_sql(allow(true))
            .execute(&mut superuser)
            .await
            .unwrap();
        let options = PgConnectOptions::from_str(&server.url)
            .unwrap()
            .database(&name);
        let mut inside = PgConnection::connect_with(&options).await.unwrap();
        for analyze in ["VACUUM ANALYZE size", "VACUUM ANALYZE _sqlx_migrations"] {
            analyzed += usize::from(sqlx::raw_sql(analyze).execute(&mut inside).await.is_ok());
        }
        inside.close().await.unwrap();
        sqlx::raw_sql(allow(false))
            .execute(&mut superuser)
            .await
            .unwrap();
    }
    assert!(analyzed > 0, "no table was analyzed");
    let copies = || {
        let log = server.log().unwrap();
        log.lines_with(&["CREATE DATABASE", "TEMPLATE"])
            .unwrap()
            .len()
    };
    let before = copies();
    run("planner::later::");
    // Six tests one after the other share one database; the others are made in advance.
    let made = copies() - before;
    assert!(made <= 4, "{made} copies for six tests");
}
