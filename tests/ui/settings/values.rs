//! Literals that a setting does not accept.

#[poolhouse::with_pool(
    url = "DATABASE_URL", //~
    max_size = "20", //~
    min_size = -1, //~
    statement_cache = 4_294_967_296, //~
    lazy = "yes", //~
    log_queries = "verbose", //~
    extensions = "citext", //~
    connect_with = "tune", //~
    migrator = "migrations", //~
    worker_threads = 0 //~
)]
async fn main() {}

mod variable {
    #[poolhouse::with_pool(env = "postgres://localhost/bands")] //~
    async fn main() {}
}
