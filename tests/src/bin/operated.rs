//! A program under `#[with_pool]` whose body prints a line, for tests of `POOLHOUSE_RUN`, which must not run the body.
//!
//! `DATABASE_URL` selects the database; `MAIN` selects another `main` than the one for the URL's scheme.

use std::env;

fn main() -> anyhow::Result<()> {
    let url = env::var("DATABASE_URL").unwrap_or_default();
    let scheme = url.split(':').next().unwrap_or_default();
    match env::var("MAIN").as_deref().unwrap_or(scheme) {
        "several" => several::main(),
        "tokio" => tokio_main::main(),
        "sqlx" => sqlx_pool::main(),
        "exit_code" => {
            exit_code::main();
            Ok(())
        }
        "mysql" => mysql::main(),
        "sqlite" => sqlite::main(),
        _ => postgres::main(),
    }
}

macro_rules! mains {
    ($($name:ident: $parameter:ty;)+) => {$(
        mod $name {
            #[poolhouse::with_pool]
            pub(super) async fn main(db: $parameter) -> anyhow::Result<()> {
                println!("the body runs: {db:?}");
                Ok(())
            }
        }
    )+};
}

mains! {
    postgres: poolhouse::PgEngine;
    mysql: poolhouse::MySqlEngine;
    sqlite: poolhouse::SqliteEngine;
    sqlx_pool: sqlx::PgPool;
}

mod several {
    #[poolhouse::with_pool]
    pub(super) async fn main(
        db: poolhouse::PgEngine,
        #[pool(engine = "reports")] reports: poolhouse::SqliteEngine,
    ) -> anyhow::Result<()> {
        println!("the body runs: {db:?} {reports:?}");
        Ok(())
    }
}

mod tokio_main {
    #[poolhouse::with_pool]
    #[tokio::main]
    pub(super) async fn main() -> anyhow::Result<()> {
        println!("the body runs");
        Ok(())
    }
}

mod exit_code {
    #[poolhouse::with_pool]
    pub(super) async fn main() {
        println!("the body runs");
    }
}
