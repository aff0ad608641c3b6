//! `cancel_everywhere` finds the leftovers of a dropped future, and accepts a future without leftovers.

use std::future::{Future, poll_fn};
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;

use poolhouse::testing::cancel_everywhere;
use poolhouse::{MySqlEngine, PgEngine, SqliteEngine, with_pool};
use sqlx::{MySqlPool, PgPool};

/// Polls a future so many times, and drops it.
async fn polled(most: i64, future: impl Future) {
    let mut future = std::pin::pin!(future);
    let mut polls = 0;
    poll_fn(|context| {
        if polls == most {
            return Poll::Ready(());
        }
        polls += 1;
        future.as_mut().poll(context).map(drop)
    })
    .await;
}

/// A table of accounts and a table of payments.
const TABLES: &str = "CREATE TABLE account (id INTEGER PRIMARY KEY, cents INTEGER NOT NULL); \
    CREATE TABLE paid (id INTEGER PRIMARY KEY, account INTEGER NOT NULL REFERENCES account (id), cents INTEGER NOT NULL); \
    INSERT INTO account VALUES (1, 1000), (2, 0), (3, 7); INSERT INTO paid VALUES (1, 3, 7)";

/// The same tests on each kind of database.
macro_rules! on_each {
    ($module:ident, $engine:ty, ($($setting:tt)*)) => {
        mod $module {
            use super::*;

            /// Pays in one transaction.
            async fn pay(db: &$engine) -> sqlx::Result<()> {
                let mut transaction = db.begin().await?;
                for sql in [
                    "UPDATE account SET cents = cents - 100 WHERE id = 1",
                    "UPDATE account SET cents = cents + 100 WHERE id = 2",
                    "INSERT INTO paid SELECT MAX(id) + 1, 2, 100 FROM paid",
                ] {
                    sqlx::query(sql).execute(&mut transaction).await?;
                }
                transaction.commit().await
            }

            /// Runs each statement outside a transaction.
            async fn pay_in_parts(db: &$engine) -> sqlx::Result<()> {
                sqlx::query("UPDATE account SET cents = cents - 100 WHERE id = 1").execute(db).await?;
                // The statements of SQLite may never be pending.
                tokio::task::yield_now().await;
                sqlx::query("UPDATE account SET cents = cents + 100 WHERE id = 2").execute(db).await?;
                Ok(())
            }

            async fn make_tables(db: &$engine) {
                sqlx::raw_sql(TABLES).execute(db).await.unwrap();
            }

            #[with_pool($($setting)* migrations = false)]
            #[tokio::test]
            async fn a_transaction_is_all_or_nothing(db: $engine) {
                make_tables(&db).await;
                // On a busy machine, an answer may arrive before the next poll, so that the future is pending less often.
                let mut most = 0;
                for _ in 0..20 {
                    let tried = cancel_everywhere(|| pay(&db)).await;
                    assert!(tried.changes);
                    most = most.max(tried.points);
                    if most > 2 {
                        break;
                    }
                }
                assert!(most > 2 || stringify!($module) != "postgres", "{most} points");
                // Every row is as before.
                let same = "SELECT COUNT(*) FROM account WHERE (id = 1 AND cents = 1000) OR (id = 2 AND cents = 0) OR (id = 3 AND cents = 7)";
                let same: i64 = sqlx::query_scalar(same).fetch_one(&db).await.unwrap();
                assert_eq!(same, 3);
                let paid: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM paid").fetch_one(&db).await.unwrap();
                assert_eq!(paid, 1);
            }

            #[with_pool($($setting)* migrations = false)]
            #[tokio::test]
            #[should_panic = "the future leaves a part of what it does on engine `default`"]
            async fn half_a_payment_is_found(db: $engine) {
                make_tables(&db).await;
                cancel_everywhere(|| pay_in_parts(&db)).await;
            }

            /// The number of rows stays the same; only a value changes.
            #[with_pool($($setting)* migrations = false)]
            #[tokio::test]
            #[should_panic = "the future leaves a part of what it does"]
            async fn a_job_that_keeps_running_is_found(db: $engine) {
                make_tables(&db).await;
                cancel_everywhere(|| async {
                    sqlx::query("UPDATE account SET cents = -1 WHERE id = 3").execute(&db).await?;
                    tokio::task::yield_now().await;
                    sqlx::query("UPDATE account SET cents = -2 WHERE id = 3").execute(&db).await.map(drop)
                })
                .await;
            }

            /// A second run on the result would do nothing or fail; but each run begins with the same rows.
            #[with_pool($($setting)* migrations = false)]
            #[tokio::test]
            async fn work_that_can_be_done_once_alone_is_no_fault(db: $engine) {
                make_tables(&db).await;
                let tried = cancel_everywhere(|| async {
                    let mut transaction = db.begin().await?;
                    sqlx::query("DELETE FROM paid").execute(&mut transaction).await?;
                    sqlx::query("DELETE FROM account WHERE id = 3").execute(&mut transaction).await?;
                    sqlx::query("INSERT INTO account VALUES (9, 9)").execute(&mut transaction).await?;
                    transaction.commit().await
                })
                .await;
                assert!(tried.changes);
            }

            /// As a time in whole seconds, in which the first two runs agree.
            #[with_pool($($setting)* migrations = false)]
            #[tokio::test]
            async fn a_value_that_differs_only_in_later_runs_is_not_compared(db: $engine) {
                make_tables(&db).await;
                let runs = AtomicUsize::new(0);
                let tried = cancel_everywhere(|| async {
                    let second = usize::from(runs.fetch_add(1, Relaxed) >= 2);
                    let insert = format!("INSERT INTO paid VALUES (2, 3, {second})");
                    sqlx::query(sqlx::AssertSqlSafe(insert)).execute(&db).await.map(drop)
                })
                .await;
                assert!(tried.changes);
            }

            #[with_pool($($setting)* migrations = false)]
            #[tokio::test]
            async fn the_begin_of_an_engine_leaves_nothing(db: $engine) {
                let tried = cancel_everywhere(|| async { db.begin().await.map(drop) }).await;
                assert!(!tried.changes);
                let tried = cancel_everywhere(|| async { sqlx::query("SELECT 1").execute(&db).await.map(drop) }).await;
                assert!(!tried.changes);
            }

            /// After a commit the pool corrects the driver's count before a caller gets the connection.
            #[with_pool($($setting)* migrations = false, max_size = 1)]
            #[tokio::test]
            async fn an_acquire_after_a_commit_leaves_nothing(db: $engine) {
                make_tables(&db).await;
                for polls in 0..12 {
                    db.begin().await.unwrap().commit().await.unwrap();
                    polled(polls, db.acquire()).await;
                    let insert = format!("INSERT INTO account VALUES ({}, 1)", 100 + polls);
                    sqlx::query(sqlx::AssertSqlSafe(insert)).execute(&db).await.unwrap();
                    // Without the only connection, what it has not committed is gone.
                    db.evict();
                    let rows = "SELECT COUNT(*) FROM account WHERE id >= 100";
                    let rows: i64 = sqlx::query_scalar(rows).fetch_one(&db).await.unwrap();
                    assert_eq!(rows, polls + 1);
                }
            }

            #[with_pool($($setting)* migrations = false)]
            #[tokio::test]
            #[should_panic = "do not come back"]
            async fn a_lost_checkout_is_found(db: $engine) {
                cancel_everywhere(|| async {
                    let checkout = ManuallyDrop::new(db.acquire().await?);
                    tokio::task::yield_now().await;
                    drop(ManuallyDrop::into_inner(checkout));
                    Ok::<_, sqlx::Error>(())
                })
                .await;
            }

            #[with_pool($($setting)* migrations = false)]
            #[tokio::test]
            #[should_panic = "the future fails when it is run to its end"]
            async fn work_that_fails_is_not_taken_for_all(db: $engine) {
                cancel_everywhere(|| async { sqlx::query("SELECT nonsense").execute(&db).await.map(drop) }).await;
            }

            #[with_pool($($setting)* migrations = false, isolation = "rollback")]
            #[tokio::test]
            #[should_panic = "has no database of the test's own: write isolation = \"database\""]
            async fn a_test_that_rolls_back_has_no_rows_to_compare(db: $engine) {
                cancel_everywhere(|| async { sqlx::query("SELECT 1").execute(&db).await.map(drop) }).await;
            }
        }
    };
}

on_each!(
    postgres,
    PgEngine,
    (env = "POOLHOUSE_TESTING_POSTGRES_URL",)
);
on_each!(mariadb, MySqlEngine, (env = "POOLHOUSE_TESTING_MYSQL_URL",));
on_each!(sqlite, SqliteEngine, ());

/// Case 14 of `docs/faults.md`: a begin that is dropped while the server answers.
#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", migrations = false)]
#[tokio::test]
#[should_panic = "in a transaction"]
async fn the_cancelled_begin_of_a_pool_of_sqlx_is_found_on_postgres(pool: PgPool) {
    // On a busy machine, the answer may arrive before the driver's first read.
    for _ in 0..50 {
        cancel_everywhere(|| async { pool.begin().await.map(drop) }).await;
    }
}

#[with_pool(env = "POOLHOUSE_TESTING_MYSQL_URL", migrations = false)]
#[tokio::test]
#[should_panic = "a transaction"]
async fn the_cancelled_begin_of_a_pool_of_sqlx_is_found_on_mariadb(pool: MySqlPool) {
    // As on Postgres.
    for _ in 0..50 {
        cancel_everywhere(|| async { pool.begin().await.map(drop) }).await;
    }
}

/// Values that differ between runs are not compared, and every row can be restored.
#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", migrations = false)]
#[tokio::test]
async fn times_numbers_and_identities_on_postgres(db: PgEngine) {
    let tables = "CREATE TABLE shop (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name TEXT UNIQUE, loud TEXT \
            GENERATED ALWAYS AS (upper(name)) STORED, opened TIMESTAMPTZ DEFAULT clock_timestamp(), picture BYTEA, facts JSON); \
        CREATE TABLE sale (id SERIAL PRIMARY KEY, shop BIGINT REFERENCES shop ON DELETE CASCADE, at TIMESTAMPTZ DEFAULT clock_timestamp()); \
        INSERT INTO shop (name, picture, facts) VALUES ('it''s \\ one', '\\x00ff', '{\"a\": 1}'), ('two', NULL, NULL); \
        INSERT INTO sale (shop) VALUES (1), (1), (2)";
    sqlx::raw_sql(tables).execute(&db).await.unwrap();
    let tried = cancel_everywhere(|| async {
        let mut transaction = db.begin().await?;
        for sql in [
            "INSERT INTO shop (name, picture, facts) VALUES ('three', '\\xdead', '[]')",
            "INSERT INTO sale (shop) SELECT max(id) FROM shop",
            "DELETE FROM shop WHERE id = 1",
            "UPDATE shop SET name = 'to', facts = '{}' WHERE name = 'two'",
        ] {
            sqlx::query(sql).execute(&mut transaction).await?;
        }
        transaction.commit().await
    })
    .await;
    assert!(tried.changes);
    let shops: Vec<(i64, String, Option<Vec<u8>>)> =
        sqlx::query_as("SELECT id, loud, picture FROM shop ORDER BY id")
            .fetch_all(&db)
            .await
            .unwrap();
    assert_eq!(
        shops,
        [
            (1, "IT'S \\ ONE".to_owned(), Some(vec![0, 255])),
            (2, "TWO".to_owned(), None)
        ]
    );
    let next: i64 = sqlx::query_scalar("INSERT INTO shop (name) VALUES ('next') RETURNING id")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(next, 3);
}

#[with_pool(env = "POOLHOUSE_TESTING_MYSQL_URL", migrations = false)]
#[tokio::test]
async fn texts_of_other_character_sets_and_all_digits_on_mariadb(db: MySqlEngine) {
    let tables = "CREATE TABLE band (id INT PRIMARY KEY, name VARCHAR(50) CHARACTER SET latin1, \
            title VARCHAR(50) CHARACTER SET utf16, loud FLOAT); \
        INSERT INTO band VALUES (1, 'Motörhead', 'Ärger', 1.2345678), (2, 'Björk', 'Jóga', NULL)";
    sqlx::raw_sql(tables).execute(&db).await.unwrap();
    let tried = cancel_everywhere(|| async {
        let mut transaction = db.begin().await?;
        for sql in [
            "DELETE FROM band WHERE id = 1",
            "UPDATE band SET name = 'Björn', title = 'Jöga' WHERE id = 2",
        ] {
            sqlx::query(sql).execute(&mut transaction).await?;
        }
        transaction.commit().await
    })
    .await;
    assert!(tried.changes);
    let bands: Vec<(String, String, Option<f32>)> =
        sqlx::query_as("SELECT name, title, loud FROM band ORDER BY id")
            .fetch_all(&db)
            .await
            .unwrap();
    let expected = [
        ("Motörhead", "Ärger", Some(1.234_567_8)),
        ("Björk", "Jóga", None),
    ];
    let expected = expected.map(|(name, title, loud)| (name.to_owned(), title.to_owned(), loud));
    assert_eq!(bands, expected);
}

#[with_pool(env = "POOLHOUSE_TESTING_MYSQL_URL", migrations = false)]
#[tokio::test]
async fn a_sequence_is_restored_on_mariadb(db: MySqlEngine) {
    let tables =
        "CREATE SEQUENCE `it's a ``sequence```; CREATE TABLE drawn (id BIGINT PRIMARY KEY)";
    sqlx::raw_sql(tables).execute(&db).await.unwrap();
    let tried = cancel_everywhere(|| async {
        sqlx::query("INSERT INTO drawn VALUES (NEXTVAL(`it's a ``sequence```))")
            .execute(&db)
            .await
            .map(drop)
    })
    .await;
    assert!(tried.changes);
    let next: i64 = sqlx::query_scalar("SELECT NEXTVAL(`it's a ``sequence```)")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(next, 1);
}

#[with_pool(env = "POOLHOUSE_TESTING_MYSQL_URL", migrations = false)]
#[tokio::test]
async fn times_numbers_and_bytes_on_mariadb(db: MySqlEngine) {
    let tables = "CREATE TABLE shop (id BIGINT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(50) UNIQUE, loud VARCHAR(50) AS (UPPER(name)) STORED, \
            opened TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6), picture BLOB, flags BIT(9), facts JSON); \
        CREATE TABLE sale (id BIGINT PRIMARY KEY AUTO_INCREMENT, shop BIGINT, FOREIGN KEY (shop) REFERENCES shop (id) ON DELETE CASCADE); \
        INSERT INTO shop (name, picture, flags, facts) VALUES ('it''s \\\\ one', x'00ff', b'101', '{\"a\": 1}'), ('Two', NULL, NULL, NULL); \
        INSERT INTO sale (shop) VALUES (1), (1), (2)";
    sqlx::raw_sql(tables).execute(&db).await.unwrap();
    let tried = cancel_everywhere(|| async {
        let mut transaction = db.begin().await?;
        for sql in [
            "INSERT INTO shop (name, picture) VALUES ('three', x'dead')",
            "INSERT INTO sale (shop) SELECT max(id) FROM shop",
            "DELETE FROM shop WHERE id = 1",
            "UPDATE shop SET name = 'two', flags = b'1' WHERE id = 2",
        ] {
            sqlx::query(sql).execute(&mut transaction).await?;
        }
        transaction.commit().await
    })
    .await;
    assert!(tried.changes);
    let shops: Vec<(i64, String, Option<Vec<u8>>)> =
        sqlx::query_as("SELECT id, loud, picture FROM shop ORDER BY id")
            .fetch_all(&db)
            .await
            .unwrap();
    assert_eq!(
        shops,
        [
            (1, "IT'S \\ ONE".to_owned(), Some(vec![0, 255])),
            (2, "TWO".to_owned(), None)
        ]
    );
    let sales: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM sale")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(sales, 3);
}
