//! Lists or removes the databases that tests have left on the server in `DATABASE_URL`.
//!
//! ```text
//! DATABASE_URL=postgres://… cargo run --example test_databases            lists
//! DATABASE_URL=postgres://… cargo run --example test_databases -- remove  removes what no test uses
//! ```

use poolhouse::{Backend, Engine, engine_finder, with_pool};
use sqlx::{MySql, Postgres};

// `lazy`: listing and removal of test databases need no pool.
#[with_pool(lazy = true)]
async fn main() -> anyhow::Result<()> {
    // The URL selects the kind; the finder of another kind fails.
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
