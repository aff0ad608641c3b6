//! The futures of the public API run in spawned tasks, and so in the handlers of a web server.
//!
//! The database type is concrete: a future whose `Send` the compiler infers may be `Send` in generic code and not with a
//! concrete type (<https://github.com/rust-lang/rust/issues/102211>).

use poolhouse::{Error, PgEngine, Settings, engine_finder_with, with_pool};
use poolhouse_tests::{Kind, servers};

/// Starts, uses and closes an engine by hand, with every method that returns a future.
async fn by_hand(url: String) -> Result<i32, Error> {
    let db: PgEngine = engine_finder_with(&Settings::new().engine("spawned").url(&url))?;
    db.start_connection_pool().await?;
    let mut checkout = db.acquire().await?;
    let one: i32 = sqlx::query_scalar("SELECT 1")
        .fetch_one(&mut checkout)
        .await?;
    drop(checkout);
    let two: i32 = sqlx::query_scalar("SELECT 2").fetch_one(&db).await?;
    db.health().await?;
    db.begin().await?.rollback().await?;
    let mut with = db.begin_with("BEGIN READ WRITE").await?;
    with.begin_nested().await?.rollback().await?;
    with.commit().await?;
    let mut transaction = db.begin().await?;
    transaction.begin_nested().await?.commit().await?;
    let four: i32 = transaction
        .transaction(async |inner| {
            sqlx::query_scalar::<_, i32>("SELECT 4")
                .fetch_one(inner)
                .await
        })
        .await?;
    transaction.commit().await?;
    let eight: i32 = db
        .transaction(async |transaction| {
            sqlx::query_scalar("SELECT 8").fetch_one(transaction).await
        })
        .await?;
    poolhouse::testing::test_databases(&db).await?;
    db.close_connection_pool().await;
    Ok(one + two + four + eight)
}

#[tokio::test]
async fn an_engine_lives_in_a_task() {
    let Some(server) = servers::require(Kind::Postgres) else {
        return;
    };
    let sum = tokio::spawn(by_hand(server.url.clone())).await.unwrap();
    assert_eq!(sum.unwrap(), 15);
}

#[with_pool(url = &url, engine = "spawned_lifespan")]
async fn lifespan(url: String, #[pool] db: PgEngine) -> Result<i32, Error> {
    assert_eq!(db.status().max, 10, "of {url}");
    Ok(sqlx::query_scalar("SELECT 1").fetch_one(&db).await?)
}

#[tokio::test]
async fn a_lifespan_function_runs_in_a_task() {
    let Some(server) = servers::require(Kind::Postgres) else {
        return;
    };
    let one = tokio::spawn(lifespan(server.url.clone())).await.unwrap();
    assert_eq!(one.unwrap(), 1);
    tokio::spawn(poolhouse::wait_closed()).await.unwrap();
}
