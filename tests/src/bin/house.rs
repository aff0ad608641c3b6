//! A program under `#[with_pool]` whose body ends as its first argument says; the tests of the lifecycle run it.
//!
//! `house-listening` is the same program with a `Shutdown` parameter.

#[path = "house/body.rs"]
mod body;

use poolhouse::{AnyEngine, with_pool};

#[with_pool(max_size = 5)]
async fn main(db: AnyEngine) -> anyhow::Result<()> {
    body::run(db, None).await
}
