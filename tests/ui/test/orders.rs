//! `#[with_pool]` goes above the test attribute, which otherwise gets parameters that it cannot fill in.

use poolhouse::{PgEngine, with_pool};

#[tokio::test]
#[with_pool]
async fn below_tokio(db: PgEngine) { //~
    drop(db);
}

#[with_pool]
#[test]
fn not_async(db: PgEngine) { //~
    drop(db);
}

fn main() {}
