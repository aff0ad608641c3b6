//! A return type of `main` that neither poolhouse nor the standard library can report.

use poolhouse::{PgEngine, with_pool};

#[with_pool]
#[tokio::main]
async fn main(db: PgEngine) -> i32 { //~~
    drop(db);
    0
}
