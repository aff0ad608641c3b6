//! The runtime's attribute in the wrong place. It expands first, and has its own word on the parameters.

use poolhouse::{PgEngine, with_pool};

#[tokio::main]
#[with_pool]
async fn main(db: PgEngine) -> anyhow::Result<()> { //~~
    let name = db.connect_options();
    drop(name);
    Ok(())
}
