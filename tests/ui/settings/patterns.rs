//! Settings that use a variable of a parameter's pattern.

use poolhouse::{PgEngine, with_pool};

pub struct Config {
    size: u32,
    url: String,
}

#[with_pool(max_size = size)] //~
pub async fn serve(Config { size, url }: Config, #[pool] db: PgEngine) {
    drop(db);
    println!("{size} {url}");
}

#[with_pool(max_size = config.size, url = &config.url)]
pub async fn named(config: Config, #[pool] db: PgEngine) {
    drop(db);
    let Config { size, url } = config;
    println!("{size} {url}");
}

#[tokio::main]
async fn main() {
    let config = || Config {
        size: 5,
        url: String::new(),
    };
    serve(config()).await;
    named(config()).await;
}
