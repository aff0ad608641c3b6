//! Arguments that a further try cannot get.

use poolhouse::sqlx::{self, Postgres};
use poolhouse::{Transaction, transactional};

pub struct Mail(String);

#[transactional]
pub async fn send(tx: &mut Transaction<Postgres>, mail: Mail) -> sqlx::Result<()> { //~
    sqlx::query("SELECT $1").bind(mail.0).execute(tx).await.map(drop)
}

#[transactional]
pub async fn call(tx: &mut Transaction<Postgres>, then: impl FnOnce() + Send) -> sqlx::Result<()> { //~
    sqlx::query("SELECT 1").execute(tx).await?;
    then();
    Ok(())
}

#[transactional]
pub async fn collect(tx: &mut Transaction<Postgres>, into: &mut Vec<i64>) -> sqlx::Result<()> { //~
    into.push(sqlx::query_scalar("SELECT 1").fetch_one(tx).await?);
    Ok(())
}

impl Mail {
    #[transactional]
    pub async fn send(self, tx: &mut Transaction<Postgres>) -> sqlx::Result<()> { //~
        sqlx::query("SELECT $1").bind(self.0).execute(tx).await.map(drop)
    }

    #[transactional]
    pub async fn sent(&mut self, tx: &mut Transaction<Postgres>) -> sqlx::Result<()> { //~
        self.0.clear();
        sqlx::query("SELECT 1").execute(tx).await.map(drop)
    }

    #[transactional(retries = 0)]
    pub async fn once(&mut self, tx: &mut Transaction<Postgres>, into: &mut Vec<i64>, _mail: Mail) -> sqlx::Result<()> {
        self.0.clear();
        into.push(sqlx::query_scalar("SELECT 1").fetch_one(tx).await?);
        Ok(())
    }
}

fn main() {}
