//! Tests whose URL leads to a pgbouncer that nobody has declared.

use std::env;
use std::process::{Command, Output};

use poolhouse::{PgEngine, Settings, engine_finder_with, testing, with_pool};
use poolhouse_tests::pgbouncer::Mode;
use poolhouse_tests::{Kind, PgBouncer, PrivateServer, TestDatabase};
use sqlx::Postgres;

use crate::minimal::said;
use crate::scenarios::{COUNT, INSERT};

/// Set by a driver: the URL past the pooler.
const DIRECT: &str = "POOLHOUSE_TEST_DIRECT_URL";

fn direct_url() -> String {
    env::var(DIRECT).unwrap_or_default()
}

macro_rules! past_the_pooler {
    ($($name:ident: $isolation:literal;)*) => {$(
        #[with_pool(
            env = "POOLHOUSE_TESTING_POSTGRES_URL",
            direct_url = direct_url(),
            isolation = $isolation
        )]
        #[tokio::test]
        #[ignore = "it needs a pooler, and is run by a driver"]
        async fn $name(db: PgEngine) {
            sqlx::query(INSERT).execute(&db).await.unwrap();
            let rows: i64 = sqlx::query_scalar(COUNT).fetch_one(&db).await.unwrap();
            assert_eq!(rows, 1);
        }
    )*};
}

mod direct {
    use super::*;

    past_the_pooler! {
        one: "database";
        two: "database";
        three: "rollback";
        four: "rollback";
    }
}

/// A server with a database of a user who may create others, and a pooler before it.
async fn behind_a_pooler() -> Option<(PrivateServer, TestDatabase, PgBouncer)> {
    let server = PrivateServer::require(Kind::Postgres)?;
    let server = server.start().await.unwrap();
    let database = server.database("behind").await.unwrap();
    let pooler = PgBouncer::start(&database, Mode::Transaction, &[])
        .await
        .unwrap();
    Some((server, database, pooler))
}

/// A run of tests whose URL leads to the pooler.
fn run(pooler: &PgBouncer, arguments: &[&str], direct_url: &str) -> Output {
    Command::new(env::current_exe().unwrap())
        .args(arguments)
        .arg("--test-threads=2")
        .env("POOLHOUSE_TESTING_POSTGRES_URL", pooler.url())
        .env(DIRECT, direct_url)
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap()
}

/// Other clients would use the session that holds the locks, so that nobody would know which databases are in use.
#[tokio::test]
async fn they_get_no_database_without_a_direct_url() {
    let Some((server, _database, pooler)) = behind_a_pooler().await else {
        return;
    };
    let output = run(&pooler, &["scenarios::one"], "");
    let said = said(&output);
    assert!(!output.status.success(), "{said}");
    assert!(
        said.contains("Set direct_url to the URL past the pooler"),
        "{said}"
    );
    let made = "SELECT datname::text FROM pg_database WHERE datname ~ '^poolhouse_'".to_owned();
    let made = server.ask(&[made]).await.unwrap();
    assert!(made.is_empty(), "{made:?}");
}

/// The removal of databases would not see which of them are in use.
#[tokio::test]
async fn test_databases_are_listed_past_the_pooler() {
    let Some((_server, database, pooler)) = behind_a_pooler().await else {
        return;
    };
    let undeclared = Settings::new().engine("undeclared").url(pooler.url());
    let engine = engine_finder_with::<Postgres>(&undeclared).unwrap();
    let error = testing::test_databases(&engine).await.unwrap_err();
    assert!(error.to_string().contains("direct_url"), "{error}");
    let declared = Settings::new()
        .engine("declared")
        .url(pooler.url())
        .pooler("pgbouncer")
        .direct_url(database.url());
    let engine = engine_finder_with::<Postgres>(&declared).unwrap();
    assert_eq!(testing::test_databases(&engine).await.unwrap(), []);
}

fn pass(output: &Output) {
    assert!(output.status.success(), "{}", said(output));
    assert!(said(output).contains("4 passed"), "{}", said(output));
}

#[tokio::test]
async fn they_pass_with_a_direct_url() {
    let Some((_server, database, pooler)) = behind_a_pooler().await else {
        return;
    };
    for _ in 0..2 {
        let tests = ["poolers::direct::", "--ignored"];
        pass(&run(&pooler, &tests, database.url()));
    }
}
