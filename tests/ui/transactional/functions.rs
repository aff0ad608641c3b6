//! Functions that cannot run in a transaction, and items that are none.

use poolhouse::sqlx::{self, Postgres};
use poolhouse::{PgEngine, Transaction, transactional};

#[transactional]
pub fn not_async(tx: &mut Transaction<Postgres>) -> sqlx::Result<()> { //~
    drop(tx);
    Ok(())
}

#[transactional]
pub async fn without_transaction(db: &PgEngine) -> sqlx::Result<()> { //~
    sqlx::query("SELECT 1").execute(db).await.map(drop)
}

#[transactional]
pub async fn with_two(one: &mut Transaction<Postgres>, other: &mut Transaction<Postgres>) -> sqlx::Result<()> { //~
    sqlx::query("SELECT 1").execute(one).await?;
    sqlx::query("SELECT 1").execute(other).await.map(drop)
}

#[transactional]
pub async fn of_sqlx(tx: &mut sqlx::Transaction<'_, Postgres>) -> sqlx::Result<()> { //~
    sqlx::query("SELECT 1").execute(&mut **tx).await.map(drop)
}

#[transactional]
pub async fn owned(tx: Transaction<Postgres>) -> sqlx::Result<()> { //~
    tx.commit().await
}

#[transactional]
pub async fn lifetime<'a>(tx: &'a mut Transaction<Postgres>) -> sqlx::Result<()> { //~
    sqlx::query("SELECT 1").execute(tx).await.map(drop)
}

#[transactional]
pub async fn without_result(tx: &mut Transaction<Postgres>) { //~
    drop(tx);
}

#[transactional]
pub async fn no_result(tx: &mut Transaction<Postgres>) -> Option<i64> { //~
    sqlx::query_scalar("SELECT 1").fetch_one(tx).await.ok()
}

#[transactional]
pub async unsafe fn dangerous(tx: &mut Transaction<Postgres>) -> sqlx::Result<()> { //~
    sqlx::query("SELECT 1").execute(tx).await.map(drop)
}

pub trait Bank {
    #[transactional]
    async fn close(&self, tx: &mut Transaction<Postgres>) -> sqlx::Result<()>; //~
}

#[transactional]
pub struct Account; //~

#[transactional]
pub async fn boxed(tx: &mut Transaction<Postgres>) -> Result<(), Box<dyn std::error::Error>> { //~
    sqlx::query("SELECT 1").execute(tx).await?;
    Ok(())
}

pub async fn caller(db: PgEngine) -> sqlx::Result<()> {
    not_async(&db).await?;
    with_two(&db, &db).await?;
    of_sqlx(&db).await?;
    owned(&db).await?;
    lifetime(&db).await?;
    without_result(&db).await;
    no_result(&db).await;
    unsafe { dangerous(&db) }.await
}

fn main() {}
