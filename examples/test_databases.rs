//! What tests have left on the server in `DATABASE_URL`, and its removal.
//!
//! ```text
//! DATABASE_URL=postgres://… cargo run --example test_databases            lists
//! DATABASE_URL=postgres://… cargo run --example test_databases -- remove  removes what no test uses
//! ```

use poolhouse::{Backend, Engine, engine_finder, with_pool};
use sqlx::{MySql, Postgres};

// `lazy`: whose tests these are, the pool is not needed for it.
#[with_pool(lazy = true)]
async fn main() -> anyhow::Result<()> {
    // The URL says which kind it is; the finder of the other one refuses.
    match engine_finder::<Postgres>() {
        Ok(db) => list_or_remove(&db).await,
        Err(_) => list_or_remove(&engine_finder::<MySql>()?).await,
    }
}

async fn list_or_remove<DB: Backend>(db: &Engine<DB>) -> anyhow::Result<()> {
    let removes = std::env::args().nth(1).as_deref() == Some("remove");
    let databases = if removes {
        poolhouse::testing::remove_test_databases(db).await?
    } else {
        poolhouse::testing::test_databases(db).await?
    };
    let verb = if removes { "removed " } else { "" };
    for database in &databases {
        println!("{verb}{database}");
    }
    println!("{} databases", databases.len());
    Ok(())
}
