//! Types that the runtime does not accept.

use std::rc::Rc;

use poolhouse::sqlx::{self, PgPool, Postgres};
use poolhouse::{Engine, PgEngine, Transaction, transactional};

pub mod app {
    #[derive(Debug)]
    pub struct Error;
}

#[transactional] //~~
pub async fn error(tx: &mut Transaction<Postgres>) -> Result<(), app::Error> {
    let _ = sqlx::query("SELECT 1").execute(tx).await;
    Ok(())
}

#[transactional] //~
pub async fn not_send(tx: &mut Transaction<Postgres>) -> sqlx::Result<()> {
    let count = Rc::new(1);
    sqlx::query("SELECT 1").execute(tx).await?;
    drop(count);
    Ok(())
}

#[transactional]
pub async fn add(tx: &mut Transaction<Postgres>, id: i64) -> sqlx::Result<()> {
    let name: &str = id; //~
    sqlx::query("SELECT $1").bind(name).execute(tx).await.map(drop)
}

#[transactional]
pub async fn callers(tx: &mut Transaction<Postgres>, db: PgEngine, pool: &PgPool) -> sqlx::Result<()> {
    count(&mut *tx).await?;
    count(db.clone()).await?; //~~~
    count(pool).await?; //~~~
    count(&*tx).await?; //~~~
    Ok(())
}

#[transactional]
pub async fn count(tx: &mut Transaction<Postgres>) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT 1").fetch_one(tx).await
}

pub trait Bank {
    fn balance(&self, tx: &mut Transaction<Postgres>) -> impl Future<Output = sqlx::Result<i64>> + Send;
}

impl Bank for Engine<Postgres> {
    #[transactional]
    async fn balance(&self, tx: &mut Transaction<Postgres>) -> sqlx::Result<i64> { //~
        sqlx::query_scalar("SELECT 1").fetch_one(tx).await
    }
}

fn main() {}
