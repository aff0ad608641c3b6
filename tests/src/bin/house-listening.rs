//! `house` with a `Shutdown` parameter.

#[path = "house/body.rs"]
mod body;

use poolhouse::{AnyEngine, Shutdown, with_pool};

#[with_pool(max_size = 5)]
async fn main(db: AnyEngine, shutdown: Shutdown) -> anyhow::Result<()> {
    body::run(db, Some(shutdown)).await
}
