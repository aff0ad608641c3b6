//! Throughput of the engine beside its peers, all with eight connections to the same server, in one process.
//!
//! ```text
//! cargo bench --bench throughput                      # everything, in about seven minutes
//! cargo bench --bench throughput -- postgres waiters  # a part: postgres, mariadb, sqlite, waiters
//! ```
//!
//! | contender | what it is |
//! |---|---|
//! | `engine` | `&Engine`, default settings |
//! | `sqlx::Pool` | `&sqlx::Pool`, default options |
//! | `bb8` | bb8 over sqlx's connections, default options |
//! | `deadpool-postgres` | deadpool-postgres over tokio-postgres, cached statements |
//! | `dedicated` | sqlx's connections without a pool, one for each of at most eight tasks: the limit |
//!
//! Contenders take turns in short rounds. A ratio is taken within a turn, and the median of the turns is shown.
//!
//! The last line is the bar, for Postgres: the least ratio to `sqlx::Pool` and to `deadpool-postgres` over all statements
//! and numbers of tasks, and the least ratio to `dedicated` over all statements with one task.

#![allow(unreachable_pub, missing_docs, reason = "a program")]

mod contender;
#[path = "../support/database.rs"]
mod database;
#[path = "../support/median.rs"]
mod median;
mod over_sqlx;
mod over_tokio_postgres;
mod statement;
mod table;
mod waiters;

use poolhouse_tests::Kind;
use table::Cell;

use crate::over_sqlx::{mysql, postgres, sqlite};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // cargo adds an option of its own.
    let parts: Vec<String> = std::env::args()
        .skip(1)
        .filter(|part| !part.starts_with('-'))
        .collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);

    if wanted("sqlite") {
        let folder = tempfile::tempdir()?;
        let url = format!(
            "sqlite://{}?mode=rwc",
            folder.path().join("bench.db").display()
        );
        let engine = sqlite::engine(&url).await?;
        table::measure("SQLite", &sqlite::contenders(&engine).await?).await?;
        engine.close_connection_pool().await;
    }
    if wanted("mariadb") {
        let measured = database::database(Kind::MariaDb).await?;
        let engine = mysql::engine(measured.database.url()).await?;
        table::measure("MariaDB", &mysql::contenders(&engine).await?).await?;
        engine.close_connection_pool().await;
    }
    if wanted("waiters") {
        let measured = database::database(Kind::Postgres).await?;
        let engine = postgres::engine(measured.database.url()).await?;
        waiters::measure(&engine).await?;
        engine.close_connection_pool().await;
    }
    if wanted("postgres") {
        let measured = database::database(Kind::Postgres).await?;
        let url = measured.database.url();
        let engine = postgres::engine(url).await?;
        let mut contenders = postgres::contenders(&engine).await?;
        contenders.insert(3, over_tokio_postgres::contender(url)?);
        let cells = table::measure("Postgres", &contenders).await?;
        engine.close_connection_pool().await;
        println!("\nbar: {}", bar(&cells));
    }
    Ok(())
}

fn bar(cells: &[Cell]) -> String {
    let least = |name: &str, among: fn(&Cell) -> bool| {
        cells
            .iter()
            .filter(|cell| among(cell))
            .filter_map(|cell| cell.ratio(name))
            .fold(f64::INFINITY, f64::min)
    };
    format!(
        "sqlx_ratio_min={:.2} raw_ratio_1task={:.2} deadpool_postgres_ratio_min={:.2}",
        least("sqlx::Pool", |_| true),
        least("dedicated", |cell| cell.tasks == 1),
        least("deadpool-postgres", |_| true),
    )
}
