//! Functions that are not `async`, and their callers.

use poolhouse::{PgEngine, with_pool};

#[with_pool]
fn main(db: PgEngine) { //~
    drop(db);
}

#[with_pool]
pub fn serve(port: u16, #[pool] db: PgEngine) -> anyhow::Result<u16> { //~
    drop(db);
    Ok(port)
}

pub async fn caller() -> anyhow::Result<u16> {
    serve(8000).await
}
