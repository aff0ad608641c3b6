//! Functions over connect options do not lead a test away from its own database.

use std::env;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use poolhouse::{AnyEngine, MySqlEngine, PgEngine, SqliteEngine, with_pool};
use poolhouse_tests::{Kind, PrivateServer};
use sqlx::any::AnyConnectOptions;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{MySqlPool, PgPool};

use crate::minimal::{said, started};
use crate::restarts::{passes, run_of};
use crate::scenarios::{COUNT, INSERT};

const URL_OF_ANY: &str = "sqlite::memory:";

fn postgres_elsewhere(options: PgConnectOptions) -> PgConnectOptions {
    options.database("music")
}

fn mysql_elsewhere(options: MySqlConnectOptions) -> MySqlConnectOptions {
    options.database("music")
}

fn sqlite_elsewhere(_: SqliteConnectOptions) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename("music.db")
}

fn any_elsewhere(_: AnyConnectOptions) -> AnyConnectOptions {
    "sqlite:music.db".parse().unwrap()
}

async fn elsewhere_by_and_by(
    options: SqliteConnectOptions,
) -> Result<SqliteConnectOptions, sqlx::Error> {
    Ok(options.filename("music.db"))
}

/// Tests whose start fails, because their function names another database.
macro_rules! refused {
    ($($name:ident: $db:ty, ($($settings:tt)*);)*) => {$(
        #[with_pool($($settings)*)]
        #[tokio::test]
        #[should_panic(expected = "returns options with another database than that of the options it gets")]
        async fn $name(_db: $db) {}
    )*};
}

refused! {
    on_postgres: PgEngine, (env = "POOLHOUSE_TESTING_POSTGRES_URL", connect_with = postgres_elsewhere);
    on_postgres_with_rollback: PgEngine,
        (env = "POOLHOUSE_TESTING_POSTGRES_URL", isolation = "rollback", connect_with = postgres_elsewhere);
    on_postgres_with_a_pool_of_sqlx: PgPool,
        (env = "POOLHOUSE_TESTING_POSTGRES_URL", connect_with = postgres_elsewhere);
    on_mysql: MySqlEngine, (env = "POOLHOUSE_TESTING_MYSQL_URL", connect_with = mysql_elsewhere);
    on_mysql_with_rollback: MySqlEngine,
        (env = "POOLHOUSE_TESTING_MYSQL_URL", isolation = "rollback", connect_with = mysql_elsewhere);
    on_mysql_with_a_pool_of_sqlx: MySqlPool,
        (env = "POOLHOUSE_TESTING_MYSQL_URL", connect_with = mysql_elsewhere);
    on_sqlite: SqliteEngine, (connect_with = sqlite_elsewhere);
    on_sqlite_before_each_connect: SqliteEngine, (before_connect = elsewhere_by_and_by);
    on_any: AnyEngine, (url = URL_OF_ANY, connect_with = any_elsewhere);
}

#[with_pool(connect_with = sqlite_elsewhere)]
#[tokio::test]
#[should_panic(
    expected = "no database for the test: connect_with (attribute, tests/tests/testing/connect_functions.rs:"
)]
async fn the_error_names_the_function(_db: SqliteEngine) {}

fn named(options: PgConnectOptions) -> PgConnectOptions {
    options.application_name("bands")
}

async fn as_it_is(options: PgConnectOptions) -> Result<PgConnectOptions, sqlx::Error> {
    Ok(options)
}

#[with_pool(
    env = "POOLHOUSE_TESTING_POSTGRES_URL",
    connect_with = named,
    before_connect = as_it_is
)]
#[tokio::test]
async fn other_options_can_be_changed(db: PgEngine) {
    let name: String = sqlx::query_scalar("SELECT current_setting('application_name')")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(name, "bands");
}

fn logged(mut options: AnyConnectOptions) -> AnyConnectOptions {
    options.log_settings.statements_level = log::LevelFilter::Off;
    CALLED.store(true, Relaxed);
    options
}

async fn any_as_it_is(options: AnyConnectOptions) -> Result<AnyConnectOptions, sqlx::Error> {
    Ok(options)
}

static CALLED: AtomicBool = AtomicBool::new(false);

/// The test server uses the database's own driver, for which the functions are not.
#[with_pool(
    url = URL_OF_ANY,
    migrations = "migrations",
    connect_with = logged,
    before_connect = any_as_it_is
)]
#[tokio::test]
async fn any_engine_has_its_functions(db: AnyEngine) {
    let bands: i64 = sqlx::query_scalar("SELECT count(*) FROM band")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(bands, 0);
    assert!(CALLED.load(Relaxed));
}

/// Set by a driver: the port of a second server.
const SECOND: &str = "POOLHOUSE_TEST_SECOND_PORT";

fn second() -> Option<u16> {
    env::var(SECOND).ok().map(|port| port.parse().unwrap())
}

fn postgres_on_first(options: PgConnectOptions) -> PgConnectOptions {
    options
}

fn postgres_on_second(options: PgConnectOptions) -> PgConnectOptions {
    match second() {
        Some(port) => options.port(port),
        None => options,
    }
}

fn mysql_on_first(options: MySqlConnectOptions) -> MySqlConnectOptions {
    options
}

fn mysql_on_second(options: MySqlConnectOptions) -> MySqlConnectOptions {
    match second() {
        Some(port) => options.port(port),
        None => options,
    }
}

/// Tests with one URL, whose functions lead to two servers.
mod two_servers {
    use super::*;

    macro_rules! on_their_server {
        ($($name:ident: $engine:ty, $variable:literal, $function:expr, $is_second:literal, $port:literal;)*) => {$(
            #[with_pool(env = $variable, connect_with = $function)]
            #[tokio::test]
            async fn $name(db: $engine) {
                sqlx::query(INSERT).execute(&db).await.unwrap();
                let rows: i64 = sqlx::query_scalar(COUNT).fetch_one(&db).await.unwrap();
                assert_eq!(rows, 1);
                if let Some(second) = second() {
                    let port: i64 = sqlx::query_scalar($port).fetch_one(&db).await.unwrap();
                    assert_eq!(port == i64::from(second), $is_second);
                }
            }
        )*};
    }

    on_their_server! {
        postgres_1: PgEngine, "POOLHOUSE_TESTING_POSTGRES_URL", postgres_on_first, false, "SELECT inet_server_port()::int8";
        postgres_2: PgEngine, "POOLHOUSE_TESTING_POSTGRES_URL", postgres_on_second, true, "SELECT inet_server_port()::int8";
        postgres_3: PgEngine, "POOLHOUSE_TESTING_POSTGRES_URL", postgres_on_first, false, "SELECT inet_server_port()::int8";
        mariadb_1: MySqlEngine, "POOLHOUSE_TESTING_MYSQL_URL", mysql_on_first, false, "SELECT CAST(@@port AS SIGNED)";
        mariadb_2: MySqlEngine, "POOLHOUSE_TESTING_MYSQL_URL", mysql_on_second, true, "SELECT CAST(@@port AS SIGNED)";
        mariadb_3: MySqlEngine, "POOLHOUSE_TESTING_MYSQL_URL", mysql_on_first, false, "SELECT CAST(@@port AS SIGNED)";
    }
}

async fn each_has_its_database_where_its_function_leads(kind: Kind, tests: &str) {
    let builders = (PrivateServer::require(kind), PrivateServer::require(kind));
    let (Some(first), Some(second)) = builders else {
        return;
    };
    let (first, second) = (started(first).await, started(second).await);
    let mut run = run_of(&first, tests, 1);
    run.env(SECOND, second.address().port().to_string());
    let output = run.output().unwrap();
    passes(&output);
    assert!(said(&output).contains("3 passed"), "{}", said(&output));
}

#[tokio::test]
async fn they_may_lead_to_several_servers_of_postgres() {
    let tests = "connect_functions::two_servers::postgres";
    each_has_its_database_where_its_function_leads(Kind::Postgres, tests).await;
}

#[tokio::test]
async fn they_may_lead_to_several_servers_of_mariadb() {
    let tests = "connect_functions::two_servers::mariadb";
    each_has_its_database_where_its_function_leads(Kind::MariaDb, tests).await;
}
