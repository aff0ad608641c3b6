//! The cost of the attribute: two programs with the same queries over the same pool. One has `#[with_pool]` on its `main`, the
//! other does the attribute's work by hand.
//!
//! ```text
//! cargo bench --bench overhead
//! ```
//!
//! The hand-written program builds the same runtime, finds the same engine, starts its pool, runs the body and closes the pool.
//! It listens to no signal, catches no panic and checks no parameters. So the difference is the attribute's whole cost, without
//! the pool's. Both read the URL from `DATABASE_URL`.
//!
//! Each program is its own process, from start to exit, with some hundred milliseconds of work, because the attribute's cost is
//! at the start and at the end. The programs take turns. The result is the median of the turns' ratios, and the last line is the
//! bar.

#![allow(unreachable_pub, missing_docs, reason = "a program")]

#[path = "support/database.rs"]
mod database;
#[path = "support/median.rs"]
mod median;

use std::env;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use median::median;
use poolhouse_tests::Kind;

/// The number of turns of each program.
const TURNS: usize = 30;

/// The queries of one run.
const QUERIES: i64 = 3_000;

/// The body of both programs.
macro_rules! queries {
    ($engine:expr) => {
        for n in 0..QUERIES {
            let m: i64 = sqlx::query_scalar("SELECT $1")
                .bind(n)
                .fetch_one($engine)
                .await?;
            ensure!(m == n);
        }
    };
}

/// The program with the attribute, on Postgres.
mod attributed_postgres {
    use anyhow::ensure;
    use poolhouse::{PgEngine, with_pool};

    use crate::QUERIES;

    #[with_pool(max_size = 8)]
    pub(crate) async fn main(db: PgEngine) -> anyhow::Result<()> {
        queries!(&db);
        Ok(())
    }
}

/// The program with the attribute, on SQLite.
mod attributed_sqlite {
    use anyhow::ensure;
    use poolhouse::{SqliteEngine, with_pool};

    use crate::QUERIES;

    #[with_pool(max_size = 8)]
    pub(crate) async fn main(db: SqliteEngine) -> anyhow::Result<()> {
        queries!(&db);
        Ok(())
    }
}

/// The program without the attribute, on Postgres.
mod by_hand_postgres {
    use anyhow::ensure;
    use poolhouse::{PgEngine, Settings, engine_finder_with};

    use crate::QUERIES;

    #[tokio::main]
    pub(crate) async fn main() -> anyhow::Result<()> {
        let db: PgEngine = engine_finder_with(&Settings::new().max_size(8))?;
        db.start_connection_pool().await?;
        queries!(&db);
        db.close_connection_pool().await;
        Ok(())
    }
}

/// The program without the attribute, on SQLite.
mod by_hand_sqlite {
    use anyhow::ensure;
    use poolhouse::{Settings, SqliteEngine, engine_finder_with};

    use crate::QUERIES;

    #[tokio::main]
    pub(crate) async fn main() -> anyhow::Result<()> {
        let db: SqliteEngine = engine_finder_with(&Settings::new().max_size(8))?;
        db.start_connection_pool().await?;
        queries!(&db);
        db.close_connection_pool().await;
        Ok(())
    }
}

fn main() -> anyhow::Result<()> {
    let mut arguments = env::args().skip(1).filter(|argument| argument != "--bench");
    match arguments.next().as_deref() {
        None => compare(),
        Some("attributed-postgres") => attributed_postgres::main(),
        Some("attributed-sqlite") => attributed_sqlite::main(),
        Some("by-hand-postgres") => by_hand_postgres::main(),
        Some("by-hand-sqlite") => by_hand_sqlite::main(),
        Some(other) => bail!("no program {other}"),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn compare() -> anyhow::Result<()> {
    println!(
        "{:<12}{:>16}{:>16}{:>10}",
        "database", "attribute", "by hand", "ratio"
    );
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("bench.db");
    let sqlite = ratio("sqlite", &format!("sqlite://{}?mode=rwc", file.display()))?;
    let measured = database::database(Kind::Postgres).await?;
    let postgres = ratio("postgres", measured.database.url())?;
    println!("\nbar: overhead_sqlite={sqlite:.2} overhead_postgres={postgres:.2}");
    Ok(())
}

/// The time of the program with the attribute, relative to the other.
fn ratio(database: &str, url: &str) -> anyhow::Result<f64> {
    let mut times = Vec::with_capacity(TURNS);
    for turn in 0..=TURNS {
        // The programs alternate in who runs first, and the first turn only warms the server up.
        let [attribute, by_hand] = if turn % 2 == 0 {
            let attribute = run("attributed", database, url)?;
            [attribute, run("by-hand", database, url)?]
        } else {
            let by_hand = run("by-hand", database, url)?;
            [run("attributed", database, url)?, by_hand]
        };
        if turn > 0 {
            times.push((attribute, by_hand));
        }
    }
    let attribute = median(times.iter().map(|(attribute, _)| *attribute));
    let by_hand = median(times.iter().map(|(_, by_hand)| *by_hand));
    let ratio = median(times.iter().map(|(attribute, by_hand)| attribute / by_hand));
    println!(
        "{database:<12}{:>13.2} ms{:>13.2} ms{ratio:>10.3}",
        attribute * 1e3,
        by_hand * 1e3
    );
    Ok(ratio)
}

/// Runs a program from start to exit, and returns the time in seconds.
fn run(program: &str, database: &str, url: &str) -> anyhow::Result<f64> {
    let mut command = Command::new(env::current_exe()?);
    command
        .arg(format!("{program}-{database}"))
        .env("DATABASE_URL", url);
    let begun = Instant::now();
    let status = command.status().context("cannot run this program again")?;
    let took = begun.elapsed().as_secs_f64();
    ensure!(
        status.success(),
        "the program {program}-{database} ended with {status}"
    );
    Ok(took)
}
