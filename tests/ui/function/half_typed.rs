//! A mistake in the attribute, with an unfinished body: names in the body still resolve.

use poolhouse::{PgEngine, with_pool};

#[with_pool(max_s)] //~
async fn main(db: PgEngine) -> anyhow::Result<()> {
    let status = db.status();
    status.in_us; //~
    Ok(())
}
