//! Throughput of the engine and other pools, with eight connections to one server, in one process.
//!
//! ```text
//! cargo bench --bench throughput                      # everything, in about twenty minutes
//! cargo bench --bench throughput -- postgres waiters  # a part: postgres, mariadb, sqlite, waiters
//! ```
//!
//! | contender | meaning |
//! |---|---|
//! | `engine` | `&Engine`, default settings |
//! | `sqlx::Pool` | `&sqlx::Pool`, default options |
//! | `bb8` | bb8 over sqlx's connections, default options |
//! | `deadpool-postgres` | deadpool-postgres over tokio-postgres, cached statements |
//! | `bare queue` | sqlx's connections behind a queue with direct hand-off and nothing else: the limit of a pool over them |
//! | `dedicated` | sqlx's connections without a pool, one for each of at most eight tasks: the limit |
//!
//! Contenders take turns in short rounds. A ratio is taken within a turn, and the result is the median of the turns.
//!
//! The last line is the bar, for Postgres. Each figure is the minimum of its cells:
//!
//! | name | meaning |
//! |---|---|
//! | `sqlx_min` | times `sqlx::Pool`, single-row statements, 8 and more tasks |
//! | `sqlx_rows` | times `sqlx::Pool`, 100 rows, relative to what `dedicated` reaches |
//! | `raw_1` | relative to `dedicated`, one task |
//! | `raw_crowd` | relative to `dedicated`, single-row statements, 64 and more tasks |
//! | `raw_rows` | relative to `dedicated`, 100 rows, 8 and more tasks |
//! | `deadpool_postgres_min` | relative to `deadpool-postgres`, single-row statements |
//!
//! The line above it has the bare queue relative to `dedicated`, in the same cells as `raw_1`, `raw_crowd` and `raw_rows`.
//!
//! MariaDB and SQLite have a line with the minimal ratio to each contender. Each database has a chart in `docs/charts`.

#![allow(unreachable_pub, missing_docs, reason = "a program")]

mod bare_queue;
#[path = "../support/chart.rs"]
mod chart;
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
    // cargo adds its own option.
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
        let cells = table::measure("SQLite", &sqlite::contenders(&engine).await?).await?;
        println!("\nSQLite: {}", least_ratios(&cells));
        table::chart("SQLite", "throughput-sqlite", &cells)?;
        engine.close_connection_pool().await;
    }
    if wanted("mariadb") {
        let measured = database::database(Kind::MariaDb).await?;
        let engine = mysql::engine(measured.database.url()).await?;
        let cells = table::measure("MariaDB", &mysql::contenders(&engine).await?).await?;
        println!("\nMariaDB: {}", least_ratios(&cells));
        table::chart("MariaDB", "throughput-mariadb", &cells)?;
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
        table::chart("Postgres", "throughput-postgres", &cells)?;
        println!("\nbare queue: {}", bare_queue_beside_dedicated(&cells));
        println!("bar: {}", bar(&cells));
    }
    Ok(())
}

/// The minimum over the cells that have a value.
fn least(cells: &[Cell], value: impl Fn(&Cell) -> Option<f64>) -> f64 {
    cells.iter().filter_map(value).fold(f64::INFINITY, f64::min)
}

fn bar(cells: &[Cell]) -> String {
    let ratio = |name: &'static str, among: fn(&Cell) -> bool| {
        least(cells, |cell| cell.ratio(name).filter(|_| among(cell)))
    };
    let of_what_can_be_had = |cell: &Cell| {
        let by_pool = cell.between("dedicated", "sqlx::Pool")?;
        Some(cell.ratio("sqlx::Pool")? / by_pool)
    };
    format!(
        "sqlx_min={:.2} sqlx_rows={:.2} raw_1={:.2} raw_crowd={:.2} raw_rows={:.2} deadpool_postgres_min={:.2}",
        ratio("sqlx::Pool", |cell| cell.is_single_row() && cell.tasks >= 8),
        least(cells, |cell| of_what_can_be_had(cell)
            .filter(|_| !cell.is_single_row() && cell.tasks >= 8)),
        ratio("dedicated", |cell| cell.tasks == 1),
        ratio("dedicated", |cell| cell.is_single_row() && cell.tasks >= 64),
        ratio("dedicated", |cell| !cell.is_single_row() && cell.tasks >= 8),
        ratio("deadpool-postgres", Cell::is_single_row),
    )
}

fn bare_queue_beside_dedicated(cells: &[Cell]) -> String {
    let ratio = |among: fn(&Cell) -> bool| {
        least(cells, |cell| {
            cell.between("bare queue", "dedicated")
                .filter(|_| among(cell))
        })
    };
    format!(
        "raw_1={:.2} raw_crowd={:.2} raw_rows={:.2}",
        ratio(|cell| cell.tasks == 1),
        ratio(|cell| cell.is_single_row() && cell.tasks >= 64),
        ratio(|cell| !cell.is_single_row() && cell.tasks >= 8),
    )
}

/// The minimal ratio to each contender, for the databases without a bar.
fn least_ratios(cells: &[Cell]) -> String {
    let names = ["sqlx::Pool", "bb8", "bare queue", "dedicated"];
    let least = names.map(|name| {
        format!(
            "{}_min={:.2}",
            name.replace(' ', "_"),
            least(cells, |cell| cell.ratio(name))
        )
    });
    least.join(" ")
}
