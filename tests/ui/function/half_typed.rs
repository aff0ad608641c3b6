//! A mistake in the attribute while the body is being written: the body's names are all there.

use poolhouse::{PgEngine, with_pool};

#[with_pool(max_s)] //~
async fn main(db: PgEngine) -> anyhow::Result<()> {
    let status = db.status();
    status.in_us; //~
    Ok(())
}
