//! What the driver keeps for a connection does not reach the next test, and each test's template is filled with its connect
//! options.

use std::convert::Infallible;
use std::env;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use poolhouse::{Checkout, MySqlEngine, PgEngine, SqliteEngine, with_pool};
use poolhouse_tests::{Kind, PrivateServer};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Column, Postgres, Row, TypeInfo};

use crate::minimal::said;
use crate::restarts::ask;

/// Columns of types that the driver does not know by itself: of the database, and of the server.
const COLUMNS: &[&str] = &[
    "genre FROM album",
    // A domain has the type of its base, an array of them has not.
    "ARRAY[stars] FROM album",
    "ARRAY[genre] FROM album",
    "album FROM album",
    "'album'::regclass",
    "ARRAY[table_name] FROM information_schema.tables WHERE table_name = 'album'",
    "most_common_vals FROM pg_stats LIMIT 1",
];

/// Fails unless the driver knows of each type what it knows for a new connection.
async fn knows_no_types(connection: &mut Checkout<Postgres>) {
    let mut known = Vec::new();
    for column in COLUMNS {
        // The simple protocol, which resolves no types.
        let rows = sqlx::raw_sql(AssertSqlSafe(format!("SELECT {column}")));
        let rows = rows.fetch_all(&mut *connection).await.unwrap();
        let name = rows
            .first()
            .map(|row| row.column(0).type_info().name().to_owned());
        known.extend(name.filter(|name| name != "?"));
    }
    assert_eq!(known, [""; 0], "resolved by another test");
    let genre = sqlx::raw_sql("SELECT genre FROM album")
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    assert_eq!(genre.try_get::<String, _>(0).unwrap(), "folk");
}

/// Tests that find no resolved types, and let the driver resolve one, each with another isolation.
macro_rules! resolve {
    ($($name:ident: $isolation:literal, $column:expr;)*) => {$(
        #[with_pool(
            env = "POOLHOUSE_TESTING_POSTGRES_URL",
            max_size = 3,
            isolation = $isolation,
            fixtures("genres")
        )]
        #[tokio::test]
        async fn $name(db: PgEngine) {
            let mut connection = db.acquire().await.unwrap();
            knows_no_types(&mut connection).await;
            let sql = format!("SELECT {}", $column);
            sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
        }
    )*};
}

mod types {
    use super::*;

    resolve! {
        of_a_column: "database", "genre FROM album";
        of_a_domain: "database", "ARRAY[stars] FROM album";
        of_an_array: "database", "ARRAY[genre] FROM album";
        of_a_row: "database", "album FROM album";
        of_the_server: "database", "'album'::regclass";
        of_the_schema: "database", "ARRAY[table_name] FROM information_schema.tables";
        of_statistics: "database", "most_common_vals FROM pg_stats WHERE false";
        of_a_row_of_the_server: "database", "e FROM pg_enum e";
        in_a_transaction: "rollback", "genre FROM album";
        in_a_transaction_of_the_server: "rollback", "'album'::regclass";
        in_a_transaction_once_more: "rollback", "1";
    }
}

/// Tests that resolve no types, or only those that the driver knows by itself.
mod plain {
    use super::*;

    resolve! {
        text: "database", "name FROM album";
        numbers: "database", "1, 2::int8, 3.5, 'a'::name, now(), '{1}'::int4[]";
        nothing: "database", "";
        text_again: "database", "name FROM album";
        again_1: "database", "name FROM album";
        again_2: "database", "name FROM album";
        again_3: "database", "name FROM album";
        again_4: "database", "name FROM album";
        rolled_back_1: "rollback", "name FROM album";
        rolled_back_2: "rollback", "name FROM album";
        rolled_back_3: "rollback", "name FROM album";
        rolled_back_4: "rollback", "name FROM album";
        rolled_back_5: "rollback", "name FROM album";
        rolled_back_6: "rollback", "name FROM album";
    }
}

/// Runs tests of this file one after another, and returns their output and the server.
async fn run(tests: &str) -> Option<PrivateServer> {
    let server = PrivateServer::require(Kind::Postgres)?;
    let server = server.setting("log_statement", "all");
    let server = server.setting("log_connections", 1).start().await.unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args([tests, "--test-threads=1"])
        .env("POOLHOUSE_TESTING_POSTGRES_URL", &server.url)
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    Some(server)
}

/// The sessions and the databases of tests, from the server's log.
fn sessions_and_copies(server: &PrivateServer) -> (usize, usize) {
    let log = server.log().unwrap();
    let sessions = log
        .lines_with(&["connection authorized", "_lease_"])
        .unwrap();
    (
        sessions.len(),
        log.lines_with(&["CREATE DATABASE", "TEMPLATE"])
            .unwrap()
            .len(),
    )
}

#[tokio::test]
async fn a_database_goes_on_without_a_connection_that_knows_types() {
    if let Some(server) = run("driver_state::types::").await {
        let (sessions, copies) = sessions_and_copies(&server);
        assert!((11..=16).contains(&sessions), "{sessions}");
        assert!(copies <= 6, "{copies}");
    }
}

#[tokio::test]
async fn a_connection_that_knows_no_types_goes_on() {
    if let Some(server) = run("driver_state::plain::").await {
        let (sessions, copies) = sessions_and_copies(&server);
        // Two or three databases are used in turn, and one by the tests that roll back. Kept sessions are closed now and then.
        assert!(sessions <= 7, "{sessions} sessions for 14 tests");
        assert!(copies <= 4, "{copies}");
    }
}

static HOOKED: AtomicUsize = AtomicUsize::new(0);
static TOKENS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Gives each connection a token of its own.
async fn with_a_token(options: PgConnectOptions) -> Result<PgConnectOptions, Infallible> {
    let token = HOOKED.fetch_add(1, Relaxed).to_string();
    Ok(options.options([("app.token", token)]))
}

macro_rules! have_a_token {
    ($($name:ident: $isolation:literal;)*) => {$(
        #[with_pool(
            env = "POOLHOUSE_TESTING_POSTGRES_URL",
            max_size = 3,
            isolation = $isolation,
            before_connect = with_a_token
        )]
        #[tokio::test]
        async fn $name(db: PgEngine) {
            let token: String = sqlx::query_scalar("SELECT current_setting('app.token')")
                .fetch_one(&db)
                .await
                .unwrap();
            let mut tokens = TOKENS.lock().unwrap();
            assert!(!tokens.contains(&token), "of another test: {token}, {tokens:?}");
            tokens.push(token);
        }
    )*};
}

/// `before_connect` runs for the connection of each test.
mod hooks {
    use super::*;

    have_a_token! {
        one: "database";
        two: "database";
        three: "database";
        four: "rollback";
        five: "rollback";
        six: "rollback";
    }
}

#[tokio::test]
async fn no_test_has_the_credentials_of_another() {
    if let Some(server) = run("driver_state::hooks::").await {
        // The databases are used again nevertheless.
        let (_, copies) = sessions_and_copies(&server);
        assert!(copies <= 4, "{copies}");
    }
}

fn as_tenant(options: PgConnectOptions) -> PgConnectOptions {
    options.options([("app.tenant", "seven")])
}

async fn as_tenant_eight(options: PgConnectOptions) -> Result<PgConnectOptions, Infallible> {
    Ok(options.options([("app.tenant", "eight")]))
}

async fn as_tenant_nine(options: PgConnectOptions) -> Result<PgConnectOptions, Infallible> {
    Ok(options.options([("app.tenant", "nine")]))
}

fn in_another_zone(options: MySqlConnectOptions) -> MySqlConnectOptions {
    options.timezone(Some("+05:30".to_owned()))
}

fn with_large_pages(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options.page_size(8192)
}

/// A template is filled with the connect options of the test.
mod options {
    use super::*;

    #[with_pool(
        env = "POOLHOUSE_TESTING_POSTGRES_URL",
        migrations = false,
        fixtures("tenant")
    )]
    #[tokio::test]
    async fn of_the_environment(db: PgEngine) {
        is_filled_for_its_tenant(&db).await;
    }

    #[with_pool(
        env = "POOLHOUSE_TESTING_POSTGRES_URL",
        migrations = false,
        fixtures("tenant"),
        connect_with = as_tenant
    )]
    #[tokio::test]
    async fn of_a_function(db: PgEngine) {
        assert_eq!(is_filled_for_its_tenant(&db).await, "seven");
    }

    #[with_pool(
        env = "POOLHOUSE_TESTING_POSTGRES_URL",
        migrations = false,
        fixtures("tenant"),
        before_connect = as_tenant_eight
    )]
    #[tokio::test]
    async fn of_a_function_before_each_connect(db: PgEngine) {
        assert_eq!(is_filled_for_its_tenant(&db).await, "eight");
    }

    #[with_pool(
        env = "POOLHOUSE_TESTING_POSTGRES_URL",
        migrations = false,
        fixtures("tenant"),
        before_connect = as_tenant_nine
    )]
    #[tokio::test]
    async fn of_another_function_before_each_connect(db: PgEngine) {
        assert_eq!(is_filled_for_its_tenant(&db).await, "nine");
    }

    #[with_pool(
        env = "POOLHOUSE_TESTING_MYSQL_URL",
        migrations = false,
        fixtures("zone")
    )]
    #[tokio::test]
    async fn on_mysql(db: MySqlEngine) {
        assert_eq!(zone(&db).await, "+00:00");
    }

    #[with_pool(
        env = "POOLHOUSE_TESTING_MYSQL_URL",
        migrations = false,
        fixtures("zone"),
        connect_with = in_another_zone
    )]
    #[tokio::test]
    async fn of_a_function_on_mysql(db: MySqlEngine) {
        assert_eq!(zone(&db).await, "+05:30");
    }

    #[with_pool(migrations = false, fixtures("page"))]
    #[tokio::test]
    async fn on_sqlite(db: SqliteEngine) {
        assert_eq!(size_of_pages(&db).await, 4096);
    }

    #[with_pool(migrations = false, fixtures("page"), connect_with = with_large_pages)]
    #[tokio::test]
    async fn of_a_function_on_sqlite(db: SqliteEngine) {
        assert_eq!(size_of_pages(&db).await, 8192);
    }

    async fn is_filled_for_its_tenant(db: &PgEngine) -> String {
        let sql = "SELECT tenant, coalesce(current_setting('app.tenant', true), '') FROM tenant";
        let (filled, now): (String, String) = sqlx::query_as(sql).fetch_one(db).await.unwrap();
        assert_eq!(filled, now);
        now
    }

    async fn zone(db: &MySqlEngine) -> String {
        let zone = sqlx::query_scalar("SELECT zone FROM zone");
        zone.fetch_one(db).await.unwrap()
    }

    async fn size_of_pages(db: &SqliteEngine) -> i64 {
        let size = sqlx::query_scalar("PRAGMA page_size");
        size.fetch_one(db).await.unwrap()
    }
}

#[tokio::test]
async fn pgoptions_decide_what_a_template_holds() {
    let Some(server) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = server.start().await.unwrap();
    for options in ["-c app.tenant=one", "", "-c app.tenant=two"] {
        let output = Command::new(env::current_exe().unwrap())
            .args(["driver_state::options::of_the_environment", "--exact"])
            .env("POOLHOUSE_TESTING_POSTGRES_URL", &server.url)
            .env("PGOPTIONS", options)
            .env_remove("RUST_BACKTRACE")
            .output()
            .unwrap();
        assert!(output.status.success(), "{options}: {}", said(&output));
    }
    let templates = "SELECT datname::text FROM pg_database WHERE datname ~ '_template$'";
    assert_eq!(ask(&server, templates).await.len(), 3);
}
