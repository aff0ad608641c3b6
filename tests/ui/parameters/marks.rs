//! `#[pool]` where it is missing, doubled, misplaced or misspelt.

use poolhouse::{Engine, PgEngine, with_pool};
use sqlx::Postgres;

#[with_pool]
pub async fn forgotten(port: u16, db: PgEngine) { //~
    let _ = (port, db);
}

#[with_pool]
pub async fn forgotten_on_all(db: Engine<Postgres>, mut reports: poolhouse::Checkout<Postgres>) { //~~
    let _ = (db, &mut reports);
}

#[with_pool]
pub async fn doubled(#[pool] #[pool(lazy = true)] db: PgEngine) { //~
    drop(db);
}

#[with_pool]
#[pool] //~
pub async fn misplaced(port: u16) {
    let _ = port;
}

#[with_pool]
pub async fn assigned(#[pool = "reports"] db: PgEngine) { //~
    drop(db);
}

#[with_pool]
pub async fn chosen_at_compile_time(#[pool] db: PgEngine, #[cfg(unix)] port: u16) { //~
    let _ = (db, port);
}

// Without the attribute, nothing fills the parameter in.
pub async fn unattributed(#[pool] db: PgEngine) { //~
    drop(db);
}

fn main() {}
