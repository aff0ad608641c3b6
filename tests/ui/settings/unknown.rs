//! Names that are not settings: typing errors, names from other pools, and unknown names.

use poolhouse::{PgEngine, with_pool};

#[with_pool(max_szie = 20)] //~
async fn main(db: PgEngine) {
    drop(db);
}

mod other_style {
    #[poolhouse::with_pool(maxSize = 20)] //~
    async fn main() {}
}

mod other_pools {
    #[poolhouse::with_pool(
        max_connections = 20, //~
        minimumIdle = 2, //~
        recycle = "30s", //~
        dsn = "postgres://localhost/bands" //~
    )]
    async fn main() {}
}

mod nothing {
    use poolhouse::PgEngine;

    #[poolhouse::with_pool]
    async fn main(#[pool(colour = "red")] db: PgEngine) { //~
        drop(db);
    }
}
