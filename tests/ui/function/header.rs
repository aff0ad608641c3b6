//! Qualifiers before `fn` and clauses after the parameters that are not allowed.

use poolhouse::{Backend, Engine, PgEngine, with_pool};

#[with_pool]
pub async unsafe fn dangerous(#[pool] db: PgEngine) { //~
    drop(db);
}

#[with_pool]
pub async extern "C" fn foreign(#[pool] db: PgEngine) { //~
    drop(db);
}

#[with_pool]
pub const fn constant(#[pool] db: PgEngine) { //~~
    drop(db);
}

#[with_pool]
async fn main<DB>(db: Engine<DB>) //~
where //~
    DB: Backend,
{
    drop(db);
}

pub async fn caller() {
    unsafe { dangerous() }.await;
    foreign().await;
    constant().await;
}
