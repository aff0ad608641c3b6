//! `Engine::recorded` lists the statements that ran, and fails when it cannot see them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::StreamExt;
use poolhouse::testing::{End, Recorded, Statement};
use poolhouse::{Checkout, PgEngine, SqliteEngine, with_pool};
use sqlx::{Connection, Executor, PgPool, Row, SqliteConnection};

const ONE: &str = "SELECT 1";

async fn ask(db: &SqliteEngine, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(db).await.unwrap()
}

fn texts<T>(seen: &Recorded<T>) -> Vec<&str> {
    seen.statements
        .iter()
        .map(|statement| statement.sql().unwrap_or("?"))
        .collect()
}

fn ends<T>(seen: &Recorded<T>) -> Vec<End> {
    seen.statements
        .iter()
        .map(Statement::end)
        .cloned()
        .collect()
}

/// The message of a check that must fail.
fn refused<T>(seen: &Recorded<T>, at_most: usize) -> String {
    let panic = catch_unwind(AssertUnwindSafe(|| {
        seen.at_most(at_most);
    }));
    let payload = panic.expect_err("it passes");
    payload.downcast_ref::<String>().cloned().unwrap()
}

/// One query for the bands, and one more for each of them.
async fn one_too_many_each(db: &SqliteEngine) -> usize {
    let bands = sqlx::query("SELECT id FROM band")
        .fetch_all(db)
        .await
        .unwrap();
    for band in &bands {
        let id: i64 = band.get(0);
        sqlx::query("SELECT count(*) FROM member WHERE band = ?") // the line that is found
            .bind(id)
            .fetch_one(db)
            .await
            .unwrap();
    }
    bands.len()
}

/// The number of the first line of this file with these words.
fn line_with(words: &str) -> usize {
    let lines = include_str!("recorded.rs").lines();
    lines
        .enumerate()
        .find(|(_, line)| line.contains(words))
        .unwrap()
        .0
        + 1
}

#[with_pool(migrations = "migrations", fixtures("../testing/fixtures/bands.sql"))]
#[tokio::test]
async fn a_query_for_each_row_is_found_with_its_location(db: SqliteEngine) {
    let seen = db.recorded(one_too_many_each(&db)).await;
    assert_eq!(seen.output, 2);
    assert_eq!(seen.count(), 3);
    assert_eq!(
        seen.counts(),
        [
            ("SELECT id FROM band", 1),
            ("SELECT count(*) FROM member WHERE band = ?", 2)
        ]
    );
    seen.at_most(3).at_most(4);
    let said = refused(&seen, 2);
    assert!(
        said.contains("3 statements ran on engine `default`, and at most 2 may"),
        "{said}"
    );
    // The await of the query is a few lines below its text. In a build without line tables, the location is the function.
    let location = seen.statements[2].location().unwrap();
    match location.rsplit_once(':') {
        Some((file, found)) if file.ends_with("asked/recorded.rs") => {
            let line = line_with("the line that is found");
            let found: usize = found.parse().unwrap();
            assert!(
                (line..line + 4).contains(&found),
                "{location} and not {line}"
            );
        }
        _ => assert_eq!(location, "testing::asked::recorded::one_too_many_each"),
    }
    assert!(
        said.contains("2 × SELECT count(*) FROM member WHERE band = ?  at "),
        "{said}"
    );
    assert!(said.contains(&location), "{said}");
}

#[with_pool(migrations = false)]
#[tokio::test]
async fn nothing_is_recorded_before_and_after(db: SqliteEngine) {
    ask(&db, ONE).await;
    let seen = db.recorded(async {}).await;
    ask(&db, ONE).await;
    assert_eq!(seen.count(), 0);
    seen.at_most(0);
}

#[with_pool(migrations = false)]
#[tokio::test]
async fn checkouts_and_transactions_are_seen_and_their_begin_is_not(db: SqliteEngine) {
    let seen = db
        .recorded(async {
            let mut checkout = db.acquire().await.unwrap();
            sqlx::query("SELECT 1")
                .execute(&mut checkout)
                .await
                .unwrap();
            drop(checkout);
            let mut transaction = db.begin().await.unwrap();
            sqlx::query("SELECT 2")
                .execute(&mut transaction)
                .await
                .unwrap();
            transaction.commit().await.unwrap();
            db.scoped_transaction(async |transaction| {
                sqlx::query("SELECT 3").execute(&mut *transaction).await?;
                Ok::<_, sqlx::Error>(())
            })
            .await
            .unwrap();
            sqlx::raw_sql("BEGIN; SELECT 4; COMMIT")
                .execute(&db)
                .await
                .unwrap();
            let statement = (&db)
                .prepare(sqlx::SqlSafeStr::into_sql_str("SELECT 5"))
                .await
                .unwrap();
            sqlx::Statement::query(&statement)
                .execute(&db)
                .await
                .unwrap();
        })
        .await;
    assert_eq!(
        texts(&seen),
        [
            "SELECT 1",
            "SELECT 2",
            "SELECT 3",
            "BEGIN; SELECT 4; COMMIT",
            "SELECT 5"
        ]
    );
    assert!(
        ends(&seen).iter().all(|end| *end == End::Completed),
        "{seen}"
    );
    assert!(
        seen.statements
            .iter()
            .all(|statement| !statement.is_of_another_task())
    );
}

#[with_pool(migrations = false)]
#[tokio::test]
async fn a_stream_is_one_statement_when_it_is_read(db: SqliteEngine) {
    let seen = db
        .recorded(async {
            // A stream that is never read never runs.
            let _ = sqlx::query("SELECT 1").fetch(&db);
            let mut half = sqlx::query("SELECT 2 UNION ALL SELECT 3").fetch(&db);
            half.next().await.unwrap().unwrap();
            drop(half);
            let all: Vec<_> = sqlx::query("SELECT 4 UNION ALL SELECT 5")
                .fetch(&db)
                .collect()
                .await;
            assert_eq!(all.len(), 2);
        })
        .await;
    assert_eq!(
        texts(&seen),
        ["SELECT 2 UNION ALL SELECT 3", "SELECT 4 UNION ALL SELECT 5"]
    );
    assert_eq!(ends(&seen), [End::Dropped, End::Completed]);
    assert!(
        seen.to_string().contains("(dropped before its end)"),
        "{seen}"
    );
}

#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", migrations = false)]
#[tokio::test]
async fn a_query_that_fails_or_is_dropped_is_one(db: PgEngine) {
    let seen = db
        .recorded(async {
            sqlx::query("SELECT nonsense")
                .execute(&db)
                .await
                .unwrap_err();
            // One poll passes the query to the driver.
            let mut query = Box::pin(sqlx::query("SELECT pg_sleep(60)").execute(&db));
            assert!(futures_util::poll!(&mut query).is_pending());
            drop(query);
            // Never polled.
            drop(sqlx::query("SELECT 2").execute(&db));
        })
        .await;
    assert_eq!(texts(&seen), ["SELECT nonsense", "SELECT pg_sleep(60)"]);
    assert!(
        matches!(&ends(&seen)[..], [End::Failed(error), End::Dropped] if error.contains("nonsense")),
        "{seen}"
    );
}

async fn as_before(connection: &mut SqliteConnection) {
    for _ in 0..100 {
        sqlx::query(ONE).execute(&mut *connection).await.unwrap();
    }
}

#[with_pool(migrations = false)]
#[tokio::test]
async fn what_runs_on_the_drivers_connection_is_no_guess(db: SqliteEngine) {
    let seen = db
        .recorded(async {
            let mut checkout = db.acquire().await.unwrap();
            as_before(&mut checkout).await;
        })
        .await;
    assert_eq!(texts(&seen), ["?"]);
    let said = refused(&seen, 1000);
    assert!(
        said.contains(
            "the driver's connection was borrowed 1 times, and what ran on it was not seen"
        ),
        "{said}"
    );
    assert!(
        said.contains("asked/recorded.rs") || said.contains("asked::recorded::what_runs"),
        "{said}"
    );
}

#[with_pool(migrations = false)]
#[tokio::test]
async fn a_detached_connection_is_as_one_that_is_borrowed(db: SqliteEngine) {
    let seen = db
        .recorded(async {
            let mut detached = db.acquire().await.unwrap().detach();
            sqlx::query(ONE).execute(&mut detached).await.unwrap();
        })
        .await;
    assert_eq!(texts(&seen), ["?"]);
    let said = refused(&seen, 1000);
    assert!(said.contains("was borrowed 1 times"), "{said}");
    db.recorded(async {}).await.at_most(0);
}

#[with_pool(migrations = false)]
#[tokio::test]
async fn a_borrow_in_the_arguments_of_the_recorded_call_is_seen(db: SqliteEngine) {
    let mut checkout = db.acquire().await.unwrap();
    // The driver's connection is borrowed before the recording begins.
    let seen = db.recorded(as_before(&mut checkout)).await;
    assert_eq!(texts(&seen), ["?"]);
    let said = refused(&seen, 1000);
    assert!(said.contains("was borrowed 1 times"), "{said}");
    // A statement of the checkout ends the borrow.
    sqlx::query(ONE).execute(&mut checkout).await.unwrap();
    let seen = db.recorded(async {}).await;
    seen.at_most(0);
    as_before(&mut checkout).await;
    drop(checkout);
    let seen = db.recorded(async {}).await;
    seen.at_most(0);

    let mut transaction = db.begin().await.unwrap();
    let seen = db.recorded(as_before(&mut transaction)).await;
    assert_eq!(texts(&seen), ["?"]);
    refused(&seen, 1000);
    transaction.commit().await.unwrap();
    let seen = db.recorded(async {}).await;
    seen.at_most(0);
}

#[with_pool(migrations = false, max_size = 4)]
#[tokio::test(flavor = "multi_thread")]
async fn a_spawned_task_is_seen(db: SqliteEngine) {
    let seen = db
        .recorded(async {
            let spawned = db.clone();
            tokio::spawn(async move { ask(&spawned, "SELECT 2").await })
                .await
                .unwrap();
            ask(&db, ONE).await
        })
        .await;
    assert_eq!(texts(&seen), ["SELECT 2", ONE]);
    let of_another: Vec<bool> = seen
        .statements
        .iter()
        .map(Statement::is_of_another_task)
        .collect();
    assert_eq!(of_another, [true, false]);
    assert!(seen.to_string().contains("(in another task)"), "{seen}");
}

#[with_pool(migrations = false, max_size = 4)]
#[tokio::test]
async fn recordings_side_by_side_and_inside_each_other_keep_their_own(db: SqliteEngine) {
    let outer = db
        .recorded(async {
            tokio::join!(
                db.recorded(async {
                    for _ in 0..5 {
                        ask(&db, "SELECT 11").await;
                        tokio::task::yield_now().await;
                    }
                }),
                db.recorded(async {
                    for _ in 0..3 {
                        ask(&db, "SELECT 22").await;
                        tokio::task::yield_now().await;
                    }
                }),
            )
        })
        .await;
    let (one, two) = &outer.output;
    assert_eq!(one.counts(), [("SELECT 11", 5)]);
    assert_eq!(two.counts(), [("SELECT 22", 3)]);
    assert_eq!(outer.count(), 8);
}

#[with_pool(migrations = false)]
#[tokio::test]
async fn another_engine_is_not_seen(
    db: SqliteEngine,
    #[pool(engine = "other", migrations = false)] other: SqliteEngine,
) {
    let seen = db
        .recorded(async {
            ask(&other, "SELECT 2").await;
            ask(&db, ONE).await
        })
        .await;
    assert_eq!(texts(&seen), [ONE]);
}

#[with_pool(migrations = false)]
#[tokio::test]
async fn a_recording_that_is_dropped_or_panics_ends(db: SqliteEngine) {
    let mut pending = Box::pin(db.recorded(async {
        ask(&db, ONE).await;
        std::future::pending::<()>().await;
    }));
    assert!(futures_util::poll!(&mut pending).is_pending());
    drop(pending);
    let panics = AssertUnwindSafe(db.recorded(async { panic!("on purpose") }));
    assert!(futures_util::FutureExt::catch_unwind(panics).await.is_err());
    let seen = db.recorded(async { ask(&db, ONE).await }).await;
    seen.at_most(1);
}

#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", migrations = false)]
#[tokio::test]
async fn on_a_server(db: PgEngine, mut checkout: Checkout<sqlx::Postgres>) {
    let seen = db
        .recorded(async {
            sqlx::query("SELECT $1::int")
                .bind(7)
                .execute(&db)
                .await
                .unwrap();
            sqlx::query("SELECT 1/0")
                .execute(&mut checkout)
                .await
                .unwrap_err();
            checkout.ping().await.unwrap();
        })
        .await;
    // A ping is not a statement, but the recording cannot tell.
    assert_eq!(texts(&seen), ["SELECT $1::int", "SELECT 1/0", "?"]);
}

#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", migrations = false)]
#[tokio::test]
#[should_panic = "runs on a sqlx::Pool, whose statements cannot be recorded"]
async fn a_pool_of_sqlx_cannot_be_recorded(db: PgEngine, pool: PgPool) {
    db.recorded(async { sqlx::query(ONE).execute(&pool).await.unwrap() })
        .await;
}
