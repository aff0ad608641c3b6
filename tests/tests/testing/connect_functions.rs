//! Functions over connect options do not lead a test away from its own database.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use poolhouse::{AnyEngine, MySqlEngine, PgEngine, SqliteEngine, with_pool};
use sqlx::any::AnyConnectOptions;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{MySqlPool, PgPool};

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
