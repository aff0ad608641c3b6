//! State of a session on Postgres that `DISCARD ALL` keeps does not reach the next test.

use std::env;
use std::process::Command;
use std::sync::Mutex;

use poolhouse::{PgEngine, with_pool};
use poolhouse_tests::private_server::Builder;
use poolhouse_tests::{Kind, PrivateServer};
use sqlx::AssertSqlSafe;
use url::Url;

use crate::minimal::{self, said, started};

static RANDOM: Mutex<Vec<f64>> = Mutex::new(Vec::new());

macro_rules! draw {
    ($($name:ident: $isolation:literal;)*) => {$(
        #[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", max_size = 3, isolation = $isolation)]
        #[tokio::test]
        async fn $name(db: PgEngine) {
            let mut connection = db.acquire().await.unwrap();
            let sql = "SELECT random(), setseed(0.5)::text";
            let (drawn, _): (f64, String) =
                sqlx::query_as(sql).fetch_one(&mut connection).await.unwrap();
            let mut all = RANDOM.lock().unwrap();
            assert!(!all.contains(&drawn), "drawn by another test: {drawn}, {all:?}");
            all.push(drawn);
        }
    )*};
}

mod seeds {
    use super::*;

    draw! {
        one: "database";
        two: "database";
        three: "database";
        four: "database";
        five: "rollback";
        six: "rollback";
        seven: "rollback";
    }
}

macro_rules! notice_lost_clients {
    ($($name:ident: $isolation:literal;)*) => {$(
        #[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", isolation = $isolation)]
        #[tokio::test]
        async fn $name(db: PgEngine) {
            let never = "SELECT version() LIKE '%linux%' AND current_setting('client_connection_check_interval', true) = '0'";
            let never: Option<bool> = sqlx::query_scalar(never).fetch_one(&db).await.unwrap();
            assert_ne!(never, Some(true));
        }
    )*};
}

mod lost_clients {
    use super::*;

    notice_lost_clients! {
        one: "database";
        two: "database";
        three: "database";
        four: "database";
        five: "rollback";
        six: "rollback";
        seven: "rollback";
    }
}

/// Set by a driver: the role that the server gives to each session of the tests.
const ROLE: &str = "POOLHOUSE_TEST_ROLE";

macro_rules! have_the_role {
    ($($name:ident: $isolation:literal;)*) => {$(
        #[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", max_size = 3, isolation = $isolation)]
        #[tokio::test]
        #[ignore = "it needs such a role, and is run by a driver"]
        async fn $name(db: PgEngine) {
            let role: String = sqlx::query_scalar("SELECT current_user::text")
                .fetch_one(&db)
                .await
                .unwrap();
            assert_eq!(role, env::var(ROLE).unwrap());
        }
    )*};
}

mod roles {
    use super::*;

    have_the_role! {
        one: "database";
        two: "database";
        three: "database";
        four: "database";
        five: "rollback";
        six: "rollback";
        seven: "rollback";
    }
}

/// Runs tests in which sessions begin with the role `app_owner`, which may create databases.
async fn begin_with_a_role(statement: Option<&str>, parameter: Option<&str>) {
    let Some(builder) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = started(builder).await;
    let roles = ["CREATE ROLE app_owner CREATEDB", "GRANT app_owner TO app"];
    for sql in roles.into_iter().chain(statement) {
        server.ask(&[sql.to_owned()]).await.unwrap();
    }
    let mut url = Url::parse(&minimal::url(&server)).unwrap();
    url.set_query(parameter);
    let output = Command::new(env::current_exe().unwrap())
        .args(["session_state::roles::", "--ignored", "--test-threads=1"])
        .env(minimal::variable(&server), url.as_str())
        .env(ROLE, "app_owner")
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("7 passed"), "{}", said(&output));
}

#[tokio::test]
async fn each_test_has_the_role_that_its_login_begins_with() {
    begin_with_a_role(Some("ALTER ROLE app SET role = 'app_owner'"), None).await;
}

#[tokio::test]
async fn each_test_has_the_role_of_its_url() {
    begin_with_a_role(None, Some("options=-c%20role=app_owner")).await;
}

/// The variable with the connection string that tests use with `dblink`.
const TARGET: &str = "POOLHOUSE_TEST_DBLINK";

macro_rules! connect {
    ($($name:ident: $isolation:literal, $fixture:literal;)*) => {$(
        #[with_pool(
            env = "POOLHOUSE_TESTING_POSTGRES_URL",
            max_size = 3,
            isolation = $isolation,
            fixtures($fixture)
        )]
        #[tokio::test]
        #[ignore = "it needs a superuser, and is run by a driver"]
        async fn $name(db: PgEngine) {
            let mut connection = db.acquire().await.unwrap();
            sqlx::query("CREATE EXTENSION IF NOT EXISTS dblink")
                .execute(&mut connection)
                .await
                .unwrap();
            let there: Option<Vec<String>> = sqlx::query_scalar("SELECT dblink_get_connections()")
                .fetch_one(&mut connection)
                .await
                .unwrap();
            assert_eq!(there, None, "of another test");
            sqlx::query("SELECT dblink_connect('of_the_test', $1)::text")
                .bind(env::var(TARGET).unwrap())
                .execute(&mut connection)
                .await
                .unwrap();
        }
    )*};
}

mod dblink {
    use super::*;

    connect! {
        of_the_template_1: "database", "dblink";
        of_the_template_2: "database", "dblink";
        of_the_template_3: "database", "dblink";
        of_the_template_4: "database", "dblink";
        of_the_test_1: "database", "bands";
        of_the_test_2: "database", "bands";
        of_the_test_3: "database", "bands";
        of_the_test_4: "database", "bands";
    }
}

/// On a server that does not count what a transaction inserts.
mod dblink_without_counts {
    use super::*;

    connect! {
        one: "rollback", "bands";
        two: "rollback", "bands";
        three: "rollback", "bands";
    }
}

/// Runs this number of tests with `dblink` one after another, and returns the server.
async fn connects(tests: &str, number: usize, builder: Builder) -> PrivateServer {
    let server = builder
        .setting("log_statement", "ddl")
        .start()
        .await
        .unwrap();
    let url = Url::parse(&server.url).unwrap();
    let target = format!(
        "host={} port={} user={} password={} dbname=postgres",
        url.host_str().unwrap(),
        url.port().unwrap(),
        url.username(),
        url.password().unwrap_or_default()
    );
    let output = Command::new(env::current_exe().unwrap())
        .args([tests, "--ignored", "--test-threads=1"])
        .env("POOLHOUSE_TESTING_POSTGRES_URL", &server.url)
        .env(TARGET, target)
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let all = format!("ok. {number} passed");
    assert!(said(&output).contains(&all), "{}", said(&output));
    server
}

/// The databases of eight tests are used again nevertheless: each of two templates has two or three copies.
fn some_are_used_again(server: &PrivateServer) {
    let log = server.log().unwrap();
    let copies = log.lines_with(&["CREATE DATABASE", "TEMPLATE"]).unwrap();
    assert!(copies.len() < 8, "{copies:?}");
}

#[tokio::test]
async fn no_test_has_the_dblink_connections_of_another() {
    let Some(builder) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = connects("session_state::dblink::", 8, builder).await;
    some_are_used_again(&server);
}

#[tokio::test]
async fn nor_where_the_server_does_not_count() {
    if let Some(builder) = PrivateServer::require(Kind::Postgres) {
        let builder = builder.setting("track_counts", "off");
        connects("session_state::dblink_without_counts::", 3, builder).await;
    }
}

/// A function is compiled at its first call in a session, with the types that the search path leads to.
mod compiled {
    use super::*;

    const MAKE: &str = "CREATE SCHEMA tours; CREATE TYPE tours.shade AS ENUM ('light')";

    macro_rules! call {
        ($($name:ident: ($($fixture:literal),*), $make:expr, $path:literal;)*) => {$(
            #[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", max_size = 3, fixtures($($fixture),*))]
            #[tokio::test]
            async fn $name(db: PgEngine) {
                let mut connection = db.acquire().await.unwrap();
                let begin = concat!("; SET search_path = ", $path);
                sqlx::raw_sql(AssertSqlSafe($make.to_owned() + begin))
                    .execute(&mut connection)
                    .await
                    .unwrap();
                let same = "SELECT public.type_of_shade() = to_regtype('shade')::oid";
                let same: bool = sqlx::query_scalar(same).fetch_one(&mut connection).await.unwrap();
                assert!(same, "the type of another test");
            }
        )*};
    }

    call! {
        of_the_template_1: ("shade", "night"), "SELECT 1", "night, public";
        of_the_template_2: ("shade", "night"), "SELECT 1", "public";
        of_the_template_3: ("shade", "night"), "SELECT 1", "night, public";
        of_the_template_4: ("shade", "night"), "SELECT 1", "public";
        of_the_test_1: ("shade"), MAKE, "tours, public";
        of_the_test_2: ("shade"), MAKE, "tours, public";
        of_the_test_3: ("shade"), MAKE, "tours, public";
        of_the_test_4: ("shade"), MAKE, "tours, public";
    }
}

#[tokio::test]
async fn no_test_calls_a_function_as_another_has_compiled_it() {
    let Some(server) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = server.setting("log_statement", "ddl");
    let server = server.start().await.unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["session_state::compiled::", "--test-threads=1"])
        .env("POOLHOUSE_TESTING_POSTGRES_URL", &server.url)
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("ok. 8 passed"), "{}", said(&output));
    some_are_used_again(&server);
}

/// A function of the template may use a type that each test makes.
mod compiled_with_a_type_of_the_test {
    use super::*;

    macro_rules! call {
        ($($name:ident)*) => {$(
            #[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", fixtures("mood"))]
            #[tokio::test]
            async fn $name(db: PgEngine) {
                sqlx::raw_sql("CREATE TYPE mood AS ENUM ('merry')").execute(&db).await.unwrap();
                let same = "SELECT type_of_mood() = 'mood'::regtype";
                let same: bool = sqlx::query_scalar(same).fetch_one(&db).await.unwrap();
                assert!(same, "the type of another test");
            }
        )*};
    }

    call!(one two three four five);
}

#[tokio::test]
async fn no_test_calls_a_function_with_a_type_that_another_has_made() {
    let Some(server) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = server.start().await.unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args([
            "session_state::compiled_with_a_type_of_the_test::",
            "--test-threads=1",
        ])
        .env("POOLHOUSE_TESTING_POSTGRES_URL", &server.url)
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

/// A function keeps the types that its names led to at its first call, also when that was in a transaction which was rolled back.
mod compiled_in_a_transaction {
    use super::*;

    const DOMAINS: &str = "ALTER DOMAIN genre RENAME TO genre_old; ALTER DOMAIN genre_next RENAME TO genre; \
        SELECT accepts('folk')";
    const COLUMNS: &str = "ALTER TABLE entry RENAME TO entry_old; ALTER TABLE entry_next RENAME TO entry; \
        SELECT type_of_word()";
    const PATH: &str = "SET LOCAL search_path = public, pg_catalog; SELECT type_of_point()";

    /// Tests of which the first ones call a function in a transaction, and the last one finds the types of its database.
    macro_rules! call {
        ($($module:ident: $isolation:literal, $fixture:literal, $call:expr, $holds:literal;)*) => {$(
            mod $module {
                use super::*;

                async fn call(db: &PgEngine) {
                    let mut transaction = db.begin().await.unwrap();
                    sqlx::raw_sql($call).execute(&mut transaction).await.unwrap();
                    transaction.rollback().await.unwrap();
                }

                #[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", isolation = $isolation, fixtures($fixture))]
                #[tokio::test]
                async fn one_calls(db: PgEngine) {
                    call(&db).await;
                }

                #[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", isolation = $isolation, fixtures($fixture))]
                #[tokio::test]
                async fn other_calls(db: PgEngine) {
                    call(&db).await;
                }

                #[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", isolation = $isolation, fixtures($fixture))]
                #[tokio::test]
                async fn then_finds(db: PgEngine) {
                    let holds: bool = sqlx::query_scalar(concat!("SELECT ", $holds)).fetch_one(&db).await.unwrap();
                    assert!(holds, "the type of another test");
                }

                #[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", isolation = $isolation, fixtures($fixture))]
                #[tokio::test]
                async fn then_finds_again(db: PgEngine) {
                    let holds: bool = sqlx::query_scalar(concat!("SELECT ", $holds)).fetch_one(&db).await.unwrap();
                    assert!(holds, "the type of another test");
                }
            }
        )*};
    }

    call! {
        column: "database", "column", COLUMNS, "type_of_word() = 'integer'::regtype";
        column_rolled_back: "rollback", "column", COLUMNS, "type_of_word() = 'integer'::regtype";
        domain: "database", "accepts", DOMAINS, "NOT accepts('folk')";
        domain_rolled_back: "rollback", "accepts", DOMAINS, "NOT accepts('folk')";
        namesake: "database", "point", PATH, "type_of_point() = 'pg_catalog.point'::regtype";
        namesake_rolled_back: "rollback", "point", PATH, "type_of_point() = 'pg_catalog.point'::regtype";
    }
}

#[tokio::test]
async fn no_test_calls_a_function_with_a_type_of_a_rolled_back_transaction() {
    let Some(server) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = server.start().await.unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args([
            "session_state::compiled_in_a_transaction::",
            "--test-threads=1",
        ])
        .env("POOLHOUSE_TESTING_POSTGRES_URL", &server.url)
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("ok. 24 passed"), "{}", said(&output));
}
