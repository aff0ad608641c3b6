//! Closures that a transaction cannot run.

use std::rc::Rc;

use poolhouse::PgEngine;
use poolhouse::sqlx;

pub async fn boxed(db: &PgEngine, name: String) -> sqlx::Result<()> {
    db.transaction(|tx| Box::pin(async move { //~
        sqlx::query("SELECT $1").bind(name).execute(&mut *tx).await.map(drop)
    }))
    .await
}

pub async fn moved_out(db: &PgEngine, names: Vec<String>) -> sqlx::Result<()> {
    db.transaction(async |tx| {
        for name in names {
            sqlx::query("SELECT $1").bind(name).execute(&mut *tx).await?;
        }
        Ok(())
    })
    .await
}

pub async fn of_one_thread(db: &PgEngine) -> sqlx::Result<()> {
    let name = Rc::new(String::from("a name"));
    db.transaction(async |tx| { //~~
        sqlx::query("SELECT $1").bind(&*name).execute(&mut *tx).await.map(drop)
    })
    .await
}

pub async fn another_error(db: &PgEngine) -> Result<(), std::fmt::Error> {
    db.transaction(async |tx| { //~~
        drop(sqlx::query("SELECT 1").execute(&mut *tx).await);
        Err(std::fmt::Error)
    })
    .await //~
}

pub async fn of_a_task(db: PgEngine, name: String) {
    tokio::spawn(async move {
        db.transaction(async |tx| sqlx::query("SELECT $1").bind(&name).execute(&mut *tx).await.map(drop)).await
    });
}

fn main() {}
