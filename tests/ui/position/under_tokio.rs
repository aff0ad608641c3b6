//! Settings of the runtime that another attribute builds.

#[poolhouse::with_pool(worker_threads = 4)] //~
#[tokio::main]
async fn main() {}
