//! Code that compiles with warnings, and the levels of lints that are set in it.

#![warn(unused)]
#![allow(dead_code)]

use poolhouse::{PgEngine, Shutdown};

#[poolhouse::with_pool]
async fn main(db: PgEngine, shutdown: Shutdown) -> anyhow::Result<()> {
    let unused = 5;
    db.acquire().await;
    Ok(())
}

#[poolhouse::with_pool]
pub async fn unused_parameters(port: u16, mut host: String, (a, b): (u16, u16), #[pool] db: PgEngine) {}

#[poolhouse::with_pool]
pub async fn unneeded_mut(mut port: u16, #[pool] mut db: PgEngine) -> anyhow::Result<u16> {
    let mut copy = port;
    drop(db);
    Ok(copy)
}

#[poolhouse::with_pool]
pub async fn unreachable(#[pool] db: PgEngine) -> anyhow::Result<()> {
    return Ok(drop(db));
    println!("never");
}

#[poolhouse::with_pool]
pub async fn dead_ends(#[pool] db: PgEngine) {
    drop(db);
    loop {}
    println!("never");
}

#[poolhouse::with_pool]
pub async fn assigned_in_vain(#[pool] db: PgEngine) {
    let mut port = 8000;
    port = 8001;
    (drop(db));
}

#[poolhouse::with_pool]
#[allow(unused_variables)]
pub async fn allowed(port: u16, #[pool] db: PgEngine) {
    let unused = 5;
}

#[poolhouse::with_pool]
#[deny(unused_must_use)]
pub async fn denied(#[pool] db: PgEngine) {
    db.acquire();
}

#[poolhouse::with_pool]
#[expect(unused_variables)]
pub async fn expected_in_vain(#[pool] db: PgEngine) {
    drop(db);
}

#[poolhouse::with_pool]
#[deprecated]
pub async fn old(#[pool] db: PgEngine) {
    drop(db);
}

#[poolhouse::with_pool]
pub async fn NotSnakeCase(NotSnakeEither: u16, #[pool] Db: PgEngine) {
    let _ = (NotSnakeEither, Db);
}
