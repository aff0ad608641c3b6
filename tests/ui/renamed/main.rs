//! `pools = { package = "poolhouse", … }` in the manifest.

use std::time::Duration;

use pools::{PgEngine, with_pool};

#[with_pool(crate = ::pools, max_size = 20)]
async fn main(db: PgEngine) -> anyhow::Result<()> {
    drop(db);
    serve(8000).await
}

#[with_pool(crate = pools, engine = "reports", acquire_timeout = Duration::from_secs(5), migrations = directory())]
async fn serve(port: u16, #[pool(engine = "reports")] db: PgEngine) -> anyhow::Result<()> {
    println!("{port} {:?}", db.status());
    Ok(())
}

fn directory() -> &'static str {
    "migrations"
}
