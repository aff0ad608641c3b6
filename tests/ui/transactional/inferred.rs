//! Lines alone: these messages hold the path of this file, and the compiler shortens what is long.
//!
//! What a closure that runs again must declare and own.

use poolhouse::PgEngine;
use poolhouse::sqlx;

pub async fn no_error_type(db: &PgEngine) {
    let ended = db.transaction(async |tx| { //~~
        sqlx::query("SELECT 1").execute(&mut *tx).await?;
        Ok(())
    });
    drop(ended.await);
}

pub async fn counted(db: &PgEngine) -> sqlx::Result<()> {
    let mut tries = 0;
    db.transaction(async |tx| { //~
        tries += 1;
        sqlx::query("SELECT 1").execute(&mut *tx).await.map(drop)
    })
    .await
}

fn main() {}
