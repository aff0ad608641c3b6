//! Methods, and `Self`.

use poolhouse::{PgEngine, with_pool};

pub struct Service {
    port: u16,
}

impl Service {
    #[with_pool]
    pub async fn serve(&self, #[pool] db: PgEngine) -> u16 { //~
        drop(db);
        self.port
    }

    #[with_pool]
    pub async fn new(#[pool] db: PgEngine) -> anyhow::Result<Self> { //~
        drop(db);
        Ok(Self { port: 8000 })
    }

    #[with_pool]
    pub async fn port(#[pool] db: PgEngine) -> u16 {
        drop(db);
        Self::standard() //~
    }

    fn standard() -> u16 {
        8000
    }
}

pub async fn caller() -> anyhow::Result<u16> {
    Ok(Service::new().await?.serve().await + Service::port().await)
}

fn main() {}
