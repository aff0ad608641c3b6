//! A statement that ends before its time leaves nothing open for the next one on the same checkout.

use anyhow::{Context, ensure};
use futures_util::TryStreamExt;
use poolhouse::{Checkout, PgEngine};
use poolhouse_tests::steps::up_to;
use sqlx::{AssertSqlSafe, Executor, Postgres, SqlStr};

use super::in_both_modes;

const TABLE: &str = "CREATE TABLE entry (amount int)";

async fn raw(checkout: &mut Checkout<Postgres>, sql: &'static str) -> sqlx::Result<()> {
    sqlx::raw_sql(sql).execute(checkout).await.map(drop)
}

async fn insert(checkout: &mut Checkout<Postgres>, amount: i32) -> sqlx::Result<()> {
    let insert = format!("INSERT INTO entry VALUES ({amount})");
    let insert = sqlx::raw_sql(AssertSqlSafe(insert));
    insert.execute(checkout).await.map(drop)
}

async fn insert_bound(checkout: &mut Checkout<Postgres>, amount: i32) -> sqlx::Result<()> {
    let insert = sqlx::query("INSERT INTO entry VALUES ($1)").bind(amount);
    insert.execute(checkout).await.map(drop)
}

/// Reads one row of many, and drops the stream.
async fn half_read(checkout: &mut Checkout<Postgres>, sql: &'static str) -> anyhow::Result<()> {
    let mut rows = sqlx::query(sql).bind(1000).fetch(checkout);
    ensure!(rows.try_next().await?.is_some());
    Ok(())
}

async fn amounts(db: &PgEngine) -> sqlx::Result<Vec<i32>> {
    sqlx::query_scalar("SELECT amount FROM entry ORDER BY amount")
        .fetch_all(db)
        .await
}

const READS: &str = "SELECT n FROM generate_series(1, $1) n";

const WRITES: &str =
    "INSERT INTO entry SELECT n FROM generate_series(1001, 1000 + $1) n RETURNING amount";

#[tokio::test]
async fn a_stream_that_is_dropped_is_rolled_back_before_the_next_statement() -> anyhow::Result<()> {
    in_both_modes(async |fixture| {
        let db = fixture.started().await?;
        sqlx::raw_sql(TABLE).execute(&db).await?;
        let mut checkout = db.acquire().await?;
        half_read(&mut checkout, READS).await?;
        insert(&mut checkout, 1).await?;
        half_read(&mut checkout, WRITES).await?;
        insert_bound(&mut checkout, 2).await?;
        half_read(&mut checkout, WRITES).await?;
        (&mut checkout).prepare(SqlStr::from_static(READS)).await?;
        insert(&mut checkout, 3).await?;
        drop(checkout);
        let found = amounts(&db).await?;
        ensure!(found == [1, 2, 3], "{found:?}");
        db.close_connection_pool().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn one_in_a_transaction_by_hand_is_undone_alone() -> anyhow::Result<()> {
    in_both_modes(async |fixture| {
        let db = fixture.started().await?;
        sqlx::raw_sql(TABLE).execute(&db).await?;
        let mut checkout = db.acquire().await?;
        raw(&mut checkout, "BEGIN").await?;
        insert_bound(&mut checkout, 1).await?;
        half_read(&mut checkout, WRITES).await?;
        insert(&mut checkout, 2).await?;
        half_read(&mut checkout, WRITES).await?;
        raw(&mut checkout, "COMMIT").await?;
        drop(checkout);
        let found = amounts(&db).await?;
        ensure!(found == [1, 2], "{found:?}");
        db.close_connection_pool().await;
        Ok(())
    })
    .await
}

/// The driver counts the values only after the begin of the statement's own transaction.
#[tokio::test]
async fn a_statement_that_the_driver_refuses_is_undone() -> anyhow::Result<()> {
    in_both_modes(async |fixture| {
        let db = fixture.started().await?;
        sqlx::raw_sql(TABLE).execute(&db).await?;
        let mut checkout = db.acquire().await?;
        let too_many =
            (0..=i32::from(u16::MAX)).fold(sqlx::query("SELECT 1"), sqlx::query::Query::bind);
        let refused = too_many.execute(&mut checkout).await;
        let error = refused.err().context("so many values are accepted")?;
        ensure!(error.to_string().contains("too many arguments"), "{error}");
        insert(&mut checkout, 1).await?;
        drop(checkout);
        let found = amounts(&db).await?;
        ensure!(found == [1], "{found:?}");
        db.close_connection_pool().await;
        Ok(())
    })
    .await
}

/// What is dropped.
#[derive(Clone, Copy, Debug)]
enum Dropped {
    Bound,
    Prepare,
    Describe,
}

impl Dropped {
    async fn run(self, checkout: &mut Checkout<Postgres>) -> sqlx::Result<()> {
        match self {
            Self::Bound => sqlx::query(READS).bind(1).execute(checkout).await.map(drop),
            Self::Prepare => checkout.prepare(SqlStr::from_static(READS)).await.map(drop),
            Self::Describe => checkout
                .describe(SqlStr::from_static(READS))
                .await
                .map(drop),
        }
    }
}

/// More than any of these statements needs.
const MOST: i32 = 200;

async fn dropped_at_each_point(
    db: &PgEngine,
    dropped: Dropped,
    by_hand: bool,
) -> anyhow::Result<()> {
    sqlx::raw_sql("TRUNCATE entry").execute(db).await?;
    let mut expected = Vec::new();
    for pending in 1..=MOST {
        let mut checkout = db.acquire().await?;
        if by_hand {
            raw(&mut checkout, "BEGIN").await?;
        }
        let ended = up_to(pending.try_into()?, dropped.run(&mut checkout)).await;
        let ended = ended.transpose()?.is_some();
        insert(&mut checkout, pending).await?;
        if by_hand {
            raw(&mut checkout, "COMMIT").await?;
        }
        expected.push(pending);
        if ended {
            break;
        }
    }
    ensure!(expected.last() != Some(&MOST), "it never ends");
    let found = amounts(db).await?;
    ensure!(found == expected, "{found:?} of {expected:?}");
    Ok(())
}

#[tokio::test]
async fn a_statement_can_be_dropped_at_each_point() -> anyhow::Result<()> {
    in_both_modes(async |fixture| {
        let db = fixture.started().await?;
        sqlx::raw_sql(TABLE).execute(&db).await?;
        for dropped in [Dropped::Bound, Dropped::Prepare, Dropped::Describe] {
            for by_hand in [false, true] {
                dropped_at_each_point(&db, dropped, by_hand)
                    .await
                    .with_context(|| format!("{dropped:?}, in one by hand: {by_hand}"))?;
            }
        }
        db.close_connection_pool().await;
        Ok(())
    })
    .await
}
