//! A body that is only half typed.

use poolhouse::PgEngine;

#[poolhouse::with_pool]
async fn main(db: PgEngine) -> anyhow::Result<()> {
    let checkout = db.
    Ok(())
}
