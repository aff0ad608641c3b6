//! Tests of `isolation = "rollback"`.

use std::env;
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::process::Command;
use std::task::Poll;
use std::time::Duration;

use poolhouse::{
    MySqlEngine, PgEngine, SqliteEngine, TransactionOptions, engine_finder, with_pool,
};
use poolhouse_tests::{Kind, PrivateServer, eventually};
use rstest::rstest;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool, Sqlite, SqlitePool};
use tokio::sync::oneshot;

use crate::minimal::said;
use crate::scenarios::migrations;

async fn count(db: &PgEngine) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM band")
        .fetch_one(db)
        .await
        .unwrap()
}

/// The number of committed rows, counted in another session on the database of the test.
async fn committed(db: &PgEngine) -> i64 {
    let mut second = PgConnection::connect_with(&db.connect_options())
        .await
        .unwrap();
    let seen = sqlx::query_scalar("SELECT count(*) FROM band")
        .fetch_one(&mut second)
        .await
        .unwrap();
    second.close().await.unwrap();
    seen
}

const ADD: &str = "INSERT INTO band (id, name) VALUES (1, 'Pythonistas')";

#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", isolation = "rollback")]
#[tokio::test]
async fn nothing_is_committed(db: PgEngine) {
    sqlx::query(ADD).execute(&db).await.unwrap();
    assert_eq!(count(&db).await, 1);
    assert_eq!(committed(&db).await, 0);
}

#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", isolation = "rollback")]
#[tokio::test]
async fn a_transaction_is_a_savepoint(db: PgEngine) {
    let mut transaction = db.begin().await.unwrap();
    sqlx::query(ADD).execute(&mut transaction).await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(count(&db).await, 0);

    let mut transaction = db.begin().await.unwrap();
    sqlx::query(ADD).execute(&mut transaction).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(count(&db).await, 1);

    let transaction = db.begin().await.unwrap();
    drop(transaction);
    assert_eq!(count(&db).await, 1);
    assert_eq!(committed(&db).await, 0);
}

/// On a `sqlx::Pool`, the driver is made to forget a cancelled rollback only outside of a transaction.
#[with_pool(isolation = "rollback")]
#[tokio::test]
async fn on_sqlite_a_borrowed_connection_of_a_pool_stays_in_the_transaction(pool: SqlitePool) {
    let db = engine_finder::<Sqlite>().unwrap();
    sqlx::query(ADD).execute(&db).await.unwrap();
    let mut checkout = db.acquire().await.unwrap();
    sqlx::query("SELECT 1")
        .execute(&mut **checkout)
        .await
        .unwrap();
    drop(checkout);
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM band")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(count, 1);
}

/// The release of a savepoint does not end `SET LOCAL`.
#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", isolation = "rollback")]
#[tokio::test]
async fn a_setting_of_a_transaction_ends_with_it(db: PgEngine) {
    const SETTINGS: &str = "SELECT coalesce(current_setting('app.tenant', true), ''), current_setting('statement_timeout')";
    let options = TransactionOptions::new()
        .local("app.tenant", "7")
        .timeout(Duration::from_mins(1));
    let inside: (String, String) = db
        .transaction_with::<_, sqlx::Error, _, _>(options, async |tx| {
            sqlx::query_as(SETTINGS).fetch_one(tx).await
        })
        .await
        .unwrap();
    assert_eq!(inside.0, "7");
    assert_ne!(inside.1, "0");
    let after: (String, String) = sqlx::query_as(SETTINGS).fetch_one(&db).await.unwrap();
    assert_eq!(after, (String::new(), "0".to_owned()));
}

/// `cockroach` runs this test on a server with such a limit.
#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", isolation = "rollback")]
#[tokio::test]
async fn a_session_has_no_limits_while_it_is_idle(db: PgEngine) {
    const LIMITS: &str = "SELECT current_setting('idle_session_timeout'), current_setting('idle_in_transaction_session_timeout')";
    let limits: (String, String) = sqlx::query_as(LIMITS).fetch_one(&db).await.unwrap();
    assert_eq!(limits, ("0".to_owned(), "0".to_owned()));
}

/// `cockroach` runs this test with its own migrations.
#[with_pool(
    env = "POOLHOUSE_TESTING_POSTGRES_URL",
    migrations = migrations(),
    isolation = "rollback"
)]
#[tokio::test]
async fn the_database_has_the_migrations_that_are_asked_for(db: PgEngine) {
    assert_eq!(count(&db).await, 0);
}

/// Code under test that joins a transaction does so here as well. Without one, it takes the only connection.
macro_rules! what_joins_is_a_savepoint {
    ($name:ident, $engine:ty, ($($setting:tt)*)) => {
        #[with_pool($($setting)* isolation = "rollback")]
        #[tokio::test]
        async fn $name(db: $engine) {
            async fn add(db: &$engine, well: bool) -> sqlx::Result<()> {
                db.scoped_transaction(async |transaction| { sqlx::query(ADD).execute(transaction).await?; if well { Ok(()) } else { Err(sqlx::Error::RowNotFound) } })
                .await
            }
            async fn count(db: &$engine) -> i64 {
                let query = sqlx::query_scalar("SELECT count(*) FROM band");
                query.fetch_one(db).await.unwrap()
            }

            db.transaction::<_, sqlx::Error, _>(async |_| {
                    add(&db, false).await.unwrap_err();
                    add(&db, true).await
                })
            .await
            .unwrap();
            assert_eq!(count(&db).await, 1);
            let undone = db.transaction::<(), sqlx::Error, _>(async |transaction| {
                    sqlx::query("DELETE FROM band").execute(transaction).await?;
                    add(&db, true).await?;
                    Err(sqlx::Error::RowNotFound)
                });
            undone.await.unwrap_err();
            assert_eq!(count(&db).await, 1);
            // The statement's own error. The transaction that holds the test goes on.
            add(&db, true).await.unwrap_err().into_database_error().unwrap();
            assert_eq!(count(&db).await, 1);
        }
    };
}

what_joins_is_a_savepoint!(
    joins_on_postgres,
    PgEngine,
    (env = "POOLHOUSE_TESTING_POSTGRES_URL",)
);
what_joins_is_a_savepoint!(
    joins_on_mariadb,
    MySqlEngine,
    (env = "POOLHOUSE_TESTING_MYSQL_URL",)
);
what_joins_is_a_savepoint!(joins_on_sqlite, SqliteEngine, ());

#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", isolation = "rollback")]
#[tokio::test]
async fn a_sqlx_pool_is_held_too(db: PgPool) {
    let mut transaction = db.begin().await.unwrap();
    sqlx::query(ADD).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    let mut second = PgConnection::connect_with(&db.connect_options())
        .await
        .unwrap();
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM band")
        .fetch_one(&mut second)
        .await
        .unwrap();
    assert_eq!(seen, 0);
}

/// Polls a future, again up to `polls` times, and drops it; true if it became ready.
async fn cancelled_after(polls: usize, work: impl Future) -> bool {
    let mut work = pin!(work);
    let mut left = polls;
    poll_fn(|context| {
        if work.as_mut().poll(context).is_ready() {
            return Poll::Ready(true);
        }
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        Poll::Pending
    })
    .await
}

#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", isolation = "rollback")]
#[tokio::test]
async fn a_cancelled_begin_leaks_nothing(db: PgEngine) {
    sqlx::query(ADD).execute(&db).await.unwrap();
    for polls in 0..20 {
        let cancelled = !cancelled_after(polls, db.begin()).await;
        assert_eq!(count(&db).await, 1, "after {polls} polls");
        assert_eq!(committed(&db).await, 0);
        if !cancelled {
            return;
        }
    }
    panic!("20 polls are enough to begin");
}

/// A cancelled nested transaction of the driver rolls back one level too many. Later statements on that connection are
/// outside every transaction, and must not be written.
#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", isolation = "rollback")]
#[tokio::test]
async fn a_cancelled_begin_of_the_driver_leaks_nothing(db: PgEngine) {
    let mut checkout = db.acquire().await.unwrap();
    for polls in 0..4 {
        if cancelled_after(polls, Connection::begin(checkout.as_mut())).await {
            break;
        }
    }
    let _ = sqlx::query(ADD).execute(&mut checkout).await;
    drop(checkout);
    assert_eq!(committed(&db).await, 0);
}

/// A test whose connection ends gets no other one: it would go on without its rows, and without an error.
macro_rules! a_lost_connection_is_not_replaced {
    ($name:ident, $db:ty, $variable:literal, $id:literal, $kill:literal, $expected:literal) => {
        #[with_pool(env = $variable, isolation = "rollback", acquire_timeout = "3s")]
        #[tokio::test]
        async fn $name(db: $db) {
            sqlx::query(ADD).execute(&db).await.unwrap();
            let id: String = sqlx::query_scalar($id).fetch_one(&db).await.unwrap();
            let mut second = db.connect_options().connect().await.unwrap();
            let kill = $kill.replace("ID", &id);
            sqlx::raw_sql(AssertSqlSafe(kill))
                .execute(&mut second)
                .await
                .unwrap();
            // The first query finds that the connection has ended.
            let _ = sqlx::query(ADD).execute(&db).await;
            let error = sqlx::query(ADD).execute(&db).await.unwrap_err();
            assert!(error.to_string().contains($expected), "{error}");
        }
    };
}

a_lost_connection_is_not_replaced!(
    lost_on_postgres,
    PgEngine,
    "POOLHOUSE_TESTING_POSTGRES_URL",
    "SELECT pg_backend_pid()::text",
    "SELECT pg_terminate_backend(ID)",
    "the transaction that held what the test had written"
);
a_lost_connection_is_not_replaced!(
    lost_with_a_pool_of_sqlx,
    PgPool,
    "POOLHOUSE_TESTING_POSTGRES_URL",
    "SELECT pg_backend_pid()::text",
    "SELECT pg_terminate_backend(ID)",
    // sqlx's pool tries again until its limit, and logs why.
    "pool timed out"
);
a_lost_connection_is_not_replaced!(
    lost_on_mariadb,
    MySqlEngine,
    "POOLHOUSE_TESTING_MYSQL_URL",
    "SELECT CAST(CONNECTION_ID() AS CHAR)",
    "KILL ID",
    "the transaction that held what the test had written"
);

/// An unused connection holds no rows, so it can be replaced.
macro_rules! a_cancelled_first_acquire_loses_nothing {
    ($name:ident, $engine:ty, $variable:literal) => {
        #[with_pool(env = $variable, isolation = "rollback", lazy = true)]
        #[tokio::test]
        async fn $name(db: $engine) {
            for polls in 0..40 {
                if cancelled_after(polls, db.acquire()).await {
                    break;
                }
                tokio::task::yield_now().await;
            }
            sqlx::query(ADD).execute(&db).await.unwrap();
            let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM band")
                .fetch_one(&db)
                .await
                .unwrap();
            assert_eq!(rows, 1);
        }
    };
}

a_cancelled_first_acquire_loses_nothing!(
    cancelled_on_postgres,
    PgEngine,
    "POOLHOUSE_TESTING_POSTGRES_URL"
);
a_cancelled_first_acquire_loses_nothing!(
    cancelled_on_mariadb,
    MySqlEngine,
    "POOLHOUSE_TESTING_MYSQL_URL"
);

/// A test that evicts its own connection gets no other one either.
macro_rules! an_evicted_connection_is_not_replaced {
    ($name:ident, $engine:ty, $($setting:tt)*) => {
        #[with_pool($($setting)* isolation = "rollback")]
        #[tokio::test]
        async fn $name(db: $engine) {
            sqlx::query(ADD).execute(&db).await.unwrap();
            db.evict();
            let error = sqlx::query(ADD).execute(&db).await.unwrap_err();
            let expected = "the transaction that held what the test had written";
            assert!(error.to_string().contains(expected), "{error}");
        }
    };
}

an_evicted_connection_is_not_replaced!(
    evicted_on_postgres,
    PgEngine,
    env = "POOLHOUSE_TESTING_POSTGRES_URL",
);
an_evicted_connection_is_not_replaced!(
    evicted_on_mariadb,
    MySqlEngine,
    env = "POOLHOUSE_TESTING_MYSQL_URL",
);
an_evicted_connection_is_not_replaced!(evicted_on_sqlite, SqliteEngine,);

#[with_pool(isolation = "rollback")]
#[tokio::test]
async fn sqlite_rolls_back_too(db: SqliteEngine) {
    let mut transaction = db.begin().await.unwrap();
    sqlx::query(ADD).execute(&mut transaction).await.unwrap();
    transaction.commit().await.unwrap();
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM band")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(seen, 1);
}

/// Makes a type. The driver caches types by their names, and each of these tests makes a new one.
async fn makes_a_type(db: PgEngine) {
    sqlx::raw_sql("CREATE TYPE mood AS ENUM ('merry'); CREATE TEMPORARY TABLE traces (mood mood)")
        .execute(&db)
        .await
        .unwrap();
    sqlx::query("INSERT INTO traces VALUES ($1)")
        .bind(Mood::Merry)
        .execute(&db)
        .await
        .unwrap();
    let mood: Mood = sqlx::query_scalar("SELECT mood FROM traces")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(mood, Mood::Merry);
}

#[derive(Debug, PartialEq, sqlx::Type)]
#[sqlx(type_name = "mood", rename_all = "lowercase")]
enum Mood {
    Merry,
}

/// Leaves state that outlasts a transaction. A test must not find it on the connection of another one.
async fn leaves_traces(db: PgEngine) {
    let locks: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
    )
    .fetch_one(&db)
    .await
    .unwrap();
    assert_eq!(locks, 0);
    // The first is an error if the statement exists already. The lock is shared, because these tests run side by side.
    sqlx::raw_sql("PREPARE trace AS SELECT 1; SELECT pg_advisory_lock_shared(1)")
        .execute(&db)
        .await
        .unwrap();
}

macro_rules! four_times {
    ($body:ident: $($name:ident)*) => {$(
        #[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", isolation = "rollback")]
        #[tokio::test]
        async fn $name(db: PgEngine) {
            $body(db).await;
        }
    )*};
}

four_times!(makes_a_type: one_makes_a_type another_makes_a_type a_third_makes_a_type a_fourth_makes_a_type);
/// `session` runs before the transaction of the test, and what it writes is committed. It also runs before the migrations.
macro_rules! writes_before {
    ($($name:ident)*) => {$(
        #[with_pool(
            env = "POOLHOUSE_TESTING_POSTGRES_URL",
            isolation = "rollback",
            session = "DO $$ BEGIN IF to_regclass('band') IS NOT NULL THEN \
                INSERT INTO band (id, name) VALUES (7, 'of the session') ON CONFLICT (id) DO UPDATE SET name = 'of two'; \
                END IF; END $$"
        )]
        #[tokio::test]
        async fn $name(db: PgEngine) {
            let name: String = sqlx::query_scalar("SELECT name FROM band").fetch_one(&db).await.unwrap();
            assert_eq!(name, "of the session");
        }
    )*};
}

mod session_rows {
    use super::*;

    writes_before!(one two three);
}

/// Set by the driver of `slots`: its server allows replication slots.
const SLOTS: &str = "POOLHOUSE_TEST_SLOTS";

/// A rollback does not undo a replication slot, which only some servers allow. The driver has one that does.
macro_rules! makes_a_slot {
    ($($name:ident)*) => {$(
        #[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", isolation = "rollback")]
        #[tokio::test]
        async fn $name(db: PgEngine) {
            let found: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()")
                .fetch_one(&db)
                .await
                .unwrap();
            assert_eq!(found, 0, "of another test");
            let made = sqlx::query(concat!(
                "SELECT pg_create_logical_replication_slot('",
                stringify!($name),
                "', 'test_decoding')::text"
            ))
            .execute(&db)
            .await;
            if env::var_os(SLOTS).is_some() {
                made.unwrap();
            }
        }
    )*};
}

mod slots {
    use super::*;

    makes_a_slot!(one two three);
}

#[tokio::test]
async fn a_slot_does_not_reach_the_next_test() {
    let Some(builder) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = builder
        .setting("wal_level", "logical")
        .start()
        .await
        .unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["rollback::slots::", "--test-threads=1"])
        .env("POOLHOUSE_TESTING_POSTGRES_URL", &server.url)
        .env(SLOTS, "1")
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("ok. 3 passed"), "{}", said(&output));
}

four_times!(leaves_traces: one_leaves_traces another_leaves_traces a_third_leaves_traces a_fourth_leaves_traces);

/// A test fails if its transaction ends before it, and names the statement.
macro_rules! ends_its_transaction {
    ($name:ident, $engine:ty, $statement:literal, ($($setting:tt)*)) => {
        #[with_pool($($setting)* isolation = "rollback")]
        #[tokio::test]
        #[should_panic(expected = $statement)]
        async fn $name(db: $engine) {
            sqlx::query(ADD).execute(&db).await.unwrap();
            // Later statements are refused, where the server can do so.
            let _ = sqlx::raw_sql(sqlx::AssertSqlSafe($statement)).execute(&db).await;
            let _ = sqlx::query("DELETE FROM member").execute(&db).await;
        }
    };
}

ends_its_transaction!(
    a_commit_on_postgres,
    PgEngine,
    "COMMIT",
    (env = "POOLHOUSE_TESTING_POSTGRES_URL",)
);
ends_its_transaction!(
    another_transaction_on_postgres,
    PgEngine,
    "COMMIT; BEGIN",
    (env = "POOLHOUSE_TESTING_POSTGRES_URL",)
);
ends_its_transaction!(
    a_commit_on_mariadb,
    MySqlEngine,
    "COMMIT",
    (env = "POOLHOUSE_TESTING_MYSQL_URL",)
);
ends_its_transaction!(
    a_definition_on_mariadb,
    MySqlEngine,
    "CREATE TABLE extra (id INTEGER)",
    (env = "POOLHOUSE_TESTING_MYSQL_URL",)
);
ends_its_transaction!(a_commit_on_sqlite, SqliteEngine, "COMMIT", ());

/// These tests find no rows that the tests above have committed, whether they run before or after.
macro_rules! finds_nothing_of_it {
    ($($name:ident: $engine:ty, ($($setting:tt)*);)*) => {$(
        #[with_pool($($setting)* isolation = "rollback")]
        #[tokio::test]
        async fn $name(db: $engine) {
            let query = sqlx::query_scalar("SELECT count(*) FROM band");
            let bands: i64 = query.fetch_one(&db).await.unwrap();
            assert_eq!(bands, 0);
        }
    )*};
}

finds_nothing_of_it! {
    a_commit_on_mariadb_is_not_found: MySqlEngine, (env = "POOLHOUSE_TESTING_MYSQL_URL",);
    a_definition_on_mariadb_is_not_found: MySqlEngine, (env = "POOLHOUSE_TESTING_MYSQL_URL",);
}

#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", isolation = "rollback")]
#[tokio::test]
#[should_panic(expected = "did not run through the engine")]
async fn a_commit_through_the_driver(db: PgPool) {
    sqlx::query(ADD).execute(&db).await.unwrap();
    let mut connection = db.acquire().await.unwrap();
    sqlx::raw_sql("COMMIT")
        .execute(&mut *connection)
        .await
        .unwrap();
}

/// Sends the id of its database and a session on another one, after a commit, and waits until it is dropped.
#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", isolation = "rollback")]
#[rstest]
#[case::by_itself(None)]
#[tokio::test]
async fn commits(
    #[case] sender: Option<oneshot::Sender<(i64, PgConnection)>>,
    #[pool] db: PgEngine,
) {
    let Some(sender) = sender else {
        return;
    };
    let id = "SELECT oid::bigint FROM pg_database WHERE datname = current_database()";
    let id = sqlx::query_scalar(id).fetch_one(&db).await.unwrap();
    let elsewhere = db.connect_options().database("postgres");
    let elsewhere = elsewhere.connect().await.unwrap();
    for sql in [ADD, "COMMIT"] {
        sqlx::raw_sql(sql).execute(&db).await.unwrap();
    }
    sender.send((id, elsewhere)).unwrap();
    pending::<()>().await;
}

/// As after a limit of time of the test's harness. No other test gets the database.
#[tokio::test]
async fn a_dropped_test_that_has_committed_uses_up_its_database() {
    let (sender, receiver) = oneshot::channel();
    let (id, mut elsewhere) = tokio::select! {
        () = commits(Some(sender)) => unreachable!("it waits"),
        heard = receiver => heard.unwrap(),
    };
    eventually("the database is dropped", async || {
        let left = sqlx::query_scalar("SELECT count(*) FROM pg_database WHERE oid::bigint = $1");
        let left: i64 = left.bind(id).fetch_one(&mut elsewhere).await?;
        anyhow::ensure!(left == 0, "it is there");
        Ok(())
    })
    .await
    .unwrap();
}

/// Rows that a rollback does not undo are not found by the next test either.
macro_rules! logs {
    ($($name:ident)*) => {$(
        #[with_pool(
            env = "POOLHOUSE_TESTING_MYSQL_URL",
            isolation = "rollback",
            migrations = "tests/testing/fixtures/not_transactional"
        )]
        #[tokio::test]
        async fn $name(db: MySqlEngine) {
            sqlx::query(ADD).execute(&db).await.unwrap();
            sqlx::query("INSERT INTO log VALUES ('a line')").execute(&db).await.unwrap();
            for table in ["band", "log"] {
                let count = format!("SELECT COUNT(*) FROM {table}");
                let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(count)).fetch_one(&db).await.unwrap();
                assert_eq!(rows, 1, "{table}");
            }
        }
    )*};
}

logs!(one_logs_without_a_transaction another_logs_without_one a_third_logs_without_one);
