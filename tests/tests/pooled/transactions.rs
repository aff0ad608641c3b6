//! Transactions by hand keep one session from begin to end.

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use poolhouse::PgEngine;
use sqlx::{Acquire, AssertSqlSafe, Executor, SqlStr};

use super::{Mood, in_both_modes};

async fn amounts(db: &PgEngine) -> sqlx::Result<Vec<i32>> {
    sqlx::query_scalar("SELECT amount FROM entry ORDER BY amount")
        .fetch_all(db)
        .await
}

#[tokio::test]
async fn many_at_the_same_time_keep_apart() -> anyhow::Result<()> {
    in_both_modes(async |fixture| {
        let db = fixture.started().await?;
        sqlx::raw_sql("CREATE TABLE entry (amount int)")
            .execute(&db)
            .await?;
        let one = async |task: i32| {
            for round in 0..20 {
                let amount = task * 100 + round;
                let mut tx = db.begin().await?;
                // A statement on the transaction, one on its session, and a savepoint.
                sqlx::query("INSERT INTO entry VALUES ($1)")
                    .bind(amount)
                    .execute(&mut tx)
                    .await?;
                let seen: i32 = sqlx::query_scalar("SELECT amount FROM entry WHERE amount = $1")
                    .bind(amount)
                    .fetch_one(&mut *tx)
                    .await?;
                assert_eq!(seen, amount);
                let mut nested = tx.begin_nested().await?;
                sqlx::query("INSERT INTO entry VALUES ($1 + 1000000)")
                    .bind(amount)
                    .execute(&mut *nested)
                    .await?;
                nested.rollback().await?;
                match round % 3 {
                    0 => tx.commit().await?,
                    1 => tx.rollback().await?,
                    _ => drop(tx),
                }
            }
            Ok::<_, sqlx::Error>(())
        };
        try_join_all((0..12).map(one)).await?;
        let mut expected: Vec<i32> = (0..12)
            .flat_map(|task| (0..20).step_by(3).map(move |round| task * 100 + round))
            .collect();
        expected.sort_unstable();
        let found = amounts(&db).await?;
        ensure!(found == expected, "{found:?}");
        db.close_connection_pool().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_new_type_is_no_trouble_inside() -> anyhow::Result<()> {
    in_both_modes(async |fixture| {
        let db = fixture.started().await?;
        sqlx::raw_sql("CREATE TYPE mood AS ENUM ('calm', 'loud')")
            .execute(&db)
            .await?;
        let ask = async |_: usize| {
            let mut tx = db.begin().await?;
            let mood: Mood = sqlx::query_scalar("SELECT $1::mood")
                .bind(Mood::Loud)
                .fetch_one(&mut tx)
                .await?;
            assert_eq!(mood, Mood::Loud);
            tx.commit().await
        };
        try_join_all((0..6).map(ask)).await?;
        db.close_connection_pool().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn one_begun_as_a_plain_statement_is_not_cut_in_pieces() -> anyhow::Result<()> {
    in_both_modes(async |fixture| {
        let db = fixture.started().await?;
        sqlx::raw_sql("CREATE TABLE entry (amount int); CREATE TYPE mood AS ENUM ('calm', 'loud')")
            .execute(&db)
            .await?;
        for (round, end) in ["ROLLBACK", "COMMIT", ""].into_iter().enumerate() {
            let mut checkout = db.acquire().await?;
            sqlx::query("BEGIN").execute(&mut checkout).await?;
            // Postgres accepts it before the first query only.
            sqlx::query("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
                .execute(&mut checkout)
                .await?;
            sqlx::query("INSERT INTO entry VALUES ($1)")
                .bind(i32::try_from(round)?)
                .execute(&mut checkout)
                .await?;
            let mood: Mood = sqlx::query_scalar("SELECT $1::mood")
                .bind(Mood::Calm)
                .fetch_one(&mut checkout)
                .await?;
            ensure!(mood == Mood::Calm);
            if !end.is_empty() {
                sqlx::query(end).execute(&mut checkout).await?;
                // Outside the transaction again, on the same checkout.
                sqlx::query("INSERT INTO entry VALUES ($1)")
                    .bind(10 + i32::try_from(round)?)
                    .execute(&mut checkout)
                    .await?;
            }
        }
        let found = amounts(&db).await?;
        ensure!(found == [1, 10, 11], "{found:?}");
        db.close_connection_pool().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn one_begun_as_a_plain_statement_stays_open_while_others_are_prepared() -> anyhow::Result<()>
{
    in_both_modes(async |fixture| {
        let db = fixture.started().await?;
        sqlx::raw_sql("CREATE TABLE entry (amount int)")
            .execute(&db)
            .await?;
        let insert = "INSERT INTO entry VALUES ($1)";
        let mut checkout = db.acquire().await?;
        sqlx::query("BEGIN").execute(&mut checkout).await?;
        for amount in 0..2 {
            sqlx::query(insert)
                .bind(amount)
                .execute(&mut checkout)
                .await?;
            (&mut checkout).prepare(SqlStr::from_static(insert)).await?;
            (&mut checkout)
                .describe(SqlStr::from_static(insert))
                .await?;
            let refused = (&mut checkout).prepare(SqlStr::from_static("no SQL")).await;
            refused.err().context("it is accepted")?;
        }
        let seen: i64 =
            sqlx::query_scalar("SELECT count(*) FROM pg_prepared_statements WHERE name <> $1")
                .bind("")
                .fetch_one(&mut checkout)
                .await?;
        ensure!(seen == 0, "{seen} statements are left");
        sqlx::query("COMMIT").execute(&mut checkout).await?;
        drop(checkout);
        let found = amounts(&db).await?;
        ensure!(found == [0, 1], "{found:?}");
        db.close_connection_pool().await;
        Ok(())
    })
    .await
}

/// Both checkouts number their statements from 1, and each transaction may be in the other's last session.
#[tokio::test]
async fn a_checkout_begins_as_the_engine_does() -> anyhow::Result<()> {
    in_both_modes(async |fixture| {
        let db = fixture.started().await?;
        let mut checkouts = [db.acquire().await?, db.acquire().await?];
        for round in 0..3 {
            for (add, checkout) in (1..).zip(&mut checkouts) {
                let ask = AssertSqlSafe(format!("SELECT $1 + {add}"));
                let mut tx = Acquire::begin(&mut *checkout).await?;
                let answer: i32 = sqlx::query_scalar(ask)
                    .bind(round)
                    .fetch_one(&mut *tx)
                    .await?;
                ensure!(answer == round + add);
                tx.commit().await?;
            }
        }
        drop(checkouts);
        db.close_connection_pool().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_a_neighbour_has_left_disturbs_nobody() -> anyhow::Result<()> {
    in_both_modes(async |fixture| {
        // sqlx's pool keeps prepared statements in the pooler's sessions.
        let careless = sqlx::PgPool::connect(fixture.pooler.url()).await?;
        for n in 0..4 {
            // Statements that it finds in a session may make it fail.
            let _ = sqlx::query(sqlx::AssertSqlSafe(format!("SELECT 'stranger {n}'")))
                .execute(&careless)
                .await;
        }
        careless.close().await;
        let db = fixture.started().await?;
        for n in 0..20 {
            let mut tx = db.begin().await?;
            let answer: i32 = sqlx::query_scalar("SELECT $1 + 1")
                .bind(n)
                .fetch_one(&mut *tx)
                .await?;
            ensure!(answer == n + 1);
            tx.commit().await?;
            let answer: i32 = sqlx::query_scalar("SELECT $1 + 2")
                .bind(n)
                .fetch_one(&db)
                .await?;
            ensure!(answer == n + 2);
        }
        db.close_connection_pool().await;
        Ok(())
    })
    .await
}
