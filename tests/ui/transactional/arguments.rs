//! Unknown arguments, and arguments with invalid values.

use poolhouse::sqlx::{self, Postgres};
use poolhouse::{PgEngine, Transaction, transactional};

#[transactional(retires = 3, propagation = "requires_new", rollback_for = AppError)] //~~~
pub async fn names(tx: &mut Transaction<Postgres>) -> sqlx::Result<()> {
    sqlx::query("SELECT 1").execute(tx).await.map(drop)
}

#[transactional(isolation = "serialisable", timeout = "0s", retries = -1, local("app.user"), read_only = 1)] //~~~~~
pub async fn values(tx: &mut Transaction<Postgres>) -> sqlx::Result<()> {
    sqlx::query("SELECT 1").execute(tx).await.map(drop)
}

#[transactional(mandatory, durable)] //~
pub async fn together(tx: &mut Transaction<Postgres>) -> sqlx::Result<()> {
    sqlx::query("SELECT 1").execute(tx).await.map(drop)
}

pub const RETRIES: u8 = 3;

#[transactional(retries = RETRIES, local("app.user" = user))] //~~
pub async fn types(tx: &mut Transaction<Postgres>, user: i64) -> sqlx::Result<()> {
    sqlx::query("SELECT $1").bind(user).execute(tx).await.map(drop)
}

pub async fn caller(db: PgEngine) -> sqlx::Result<()> {
    names(&db).await?;
    values(&db).await?;
    together(&db).await
}

fn main() {}
