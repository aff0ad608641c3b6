//! Settings of tests: typing errors, missing files, and functions that are no tests.

use poolhouse::{PgEngine, with_pool};

#[with_pool(isolation = "rolback")] //~
#[tokio::test]
async fn slips(db: PgEngine) {
    drop(db);
}

#[with_pool(isolation = "schema")] //~
#[tokio::test]
async fn names_nothing(db: PgEngine) {
    drop(db);
}

#[with_pool(fixtures(
    "bands",
    "band", //~
    "../seeds/members.sql", //~
    seed_bands,
    12 //~
))]
#[tokio::test]
async fn lacks_files(db: PgEngine) {
    drop(db);
}

#[with_pool(flavor = "current_thread")] //~
#[tokio::test]
async fn has_a_runtime(db: PgEngine) {
    drop(db);
}

#[with_pool(isolation = "rollback")] //~
async fn main(db: PgEngine) {
    drop(db);
}
