//! Settings of the whole run on one parameter.

use poolhouse::{PgEngine, with_pool};

#[with_pool]
async fn main(#[pool(signals = false, worker_threads = 4, crate = ::poolhouse)] db: PgEngine) { //~~~
    drop(db);
}
