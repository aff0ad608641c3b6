//! Rocket's `launch`, which starts the server after the function. Rocket is no dependency here, so tokio's attribute has its name.

use poolhouse::{PgEngine, with_pool};
use tokio::main as launch;

#[with_pool]
#[launch] //~
async fn rocket(#[pool] db: PgEngine) {
    drop(db);
}

fn main() {
    rocket();
}
