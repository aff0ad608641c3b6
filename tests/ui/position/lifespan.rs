//! Settings of a runtime on a function that does not build one.

use poolhouse::{PgEngine, with_pool};

#[with_pool(flavor = "multi_thread", worker_threads = 4)] //~~
async fn serve(#[pool] db: PgEngine) {
    drop(db);
}

#[tokio::main]
async fn main() {
    serve().await;
}
