//! Types that poolhouse cannot fill in, on a lifespan function.

use poolhouse::{Backend, Engine, PgEngine, Shutdown, with_pool};
use sqlx::Postgres;

pub struct Config;

#[with_pool]
pub async fn serve(
    port: u16,
    #[pool] config: Config, //~
    #[pool] db: PgEngine,
    #[pool] shutdown: &Shutdown, //~
) -> anyhow::Result<u16> {
    let _ = (config, db, shutdown);
    Ok(port)
}

#[with_pool]
pub async fn generic<DB: Backend>(#[pool] db: Engine<DB>) {
    drop(db);
}

pub async fn caller() -> anyhow::Result<u16> {
    generic::<Postgres>().await;
    serve(8000).await
}

fn main() {}
