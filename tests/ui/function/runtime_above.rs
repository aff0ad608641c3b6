//! The runtime's attribute above `#[with_pool]`. It expands first, and reports the parameters too.

use poolhouse::{PgEngine, with_pool};

#[tokio::main]
#[with_pool]
async fn main(db: PgEngine) -> anyhow::Result<()> { //~~
    let name = db.connect_options();
    drop(name);
    Ok(())
}
