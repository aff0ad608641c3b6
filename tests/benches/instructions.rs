//! What the engine adds to a query, in instructions: a number that other programs on the machine do not disturb.
//!
//! ```text
//! cargo bench --bench instructions
//! ```
//!
//! The program runs itself under `valgrind --tool=callgrind`, one task on one thread, with two numbers of queries; the
//! difference is what the queries alone take. `allocations` are calls of the allocator in the same difference.

#![allow(unreachable_pub, missing_docs, reason = "a program")]

#[path = "support/database.rs"]
mod database;

use std::env;
use std::process::Command;

use anyhow::{Context, bail, ensure};
use poolhouse::{Engine, Settings, engine_finder_with};
use poolhouse_tests::Kind;
use sqlx::{Connection, PgConnection, PgPool, Postgres, Sqlite, SqliteConnection, SqlitePool};

const CONTENDERS: [&str; 3] = ["engine", "sqlx::Pool", "dedicated"];
const FEW: u64 = 500;
const MANY: u64 = 2_500;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match &arguments[..] {
        [] => runtime.block_on(compare()),
        [contender, url, queries] => {
            let queries = queries.parse()?;
            if url.starts_with("postgres") {
                runtime.block_on(on_postgres(contender, url, queries))
            } else {
                runtime.block_on(on_sqlite(contender, url, queries))
            }
        }
        _ => bail!("usage: instructions [CONTENDER URL QUERIES]"),
    }
}

async fn compare() -> anyhow::Result<()> {
    let measured = database::database(Kind::Postgres).await?;
    println!(
        "{:<12}{:<14}{:>14}{:>14}",
        "database", "", "instructions", "allocations"
    );
    for (name, url) in [
        ("Postgres", measured.database.url()),
        ("SQLite", "sqlite::memory:"),
    ] {
        for contender in CONTENDERS {
            let few = count(contender, url, FEW)?;
            let many = count(contender, url, MANY)?;
            let each = |few: u64, many: u64| (many - few) / (MANY - FEW);
            println!(
                "{name:<12}{contender:<14}{:>14}{:>14}",
                each(few.0, many.0),
                each(few.1, many.1)
            );
        }
    }
    Ok(())
}

/// The instructions and allocations of a run with this many queries.
fn count(contender: &str, url: &str, queries: u64) -> anyhow::Result<(u64, u64)> {
    let folder = tempfile::tempdir()?;
    let profile = folder.path().join("profile");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--compress-strings=no"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(env::current_exe()?)
        .args([contender, url, &queries.to_string()])
        .output()
        .context("cannot run valgrind; it comes with the package `valgrind`")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let profile = std::fs::read_to_string(profile)?;
    let instructions = profile
        .lines()
        .find_map(|line| {
            line.strip_prefix("summary: ")
                .or(line.strip_prefix("totals: "))
        })
        .context("callgrind has written no summary")?
        .trim()
        .parse()?;
    Ok((instructions, allocations(&profile)))
}

/// How often the profile says that malloc or realloc was called.
fn allocations(profile: &str) -> u64 {
    let mut lines = profile.lines();
    let mut calls = 0;
    while let Some(line) = lines.next() {
        let Some(callee) = line.strip_prefix("cfn=") else {
            continue;
        };
        if let Some(line) = lines.next()
            && let Some(count) = line.strip_prefix("calls=")
            && matches!(callee, "malloc" | "realloc" | "calloc" | "posix_memalign")
        {
            calls += count
                .split(' ')
                .next()
                .and_then(|count| count.parse::<u64>().ok())
                .unwrap_or(0);
        }
    }
    calls
}

macro_rules! run {
    ($contender:ident, $url:ident, $queries:ident, $database:ty, $connection:ty, $pool:ty) => {{
        match $contender {
            "engine" => {
                let engine: Engine<$database> = engine_finder_with(&Settings::new().url($url))?;
                engine.start_connection_pool().await?;
                for _ in 0..$queries {
                    let _: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&engine).await?;
                }
            }
            "sqlx::Pool" => {
                let pool = <$pool>::connect($url).await?;
                for _ in 0..$queries {
                    let _: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&pool).await?;
                }
            }
            "dedicated" => {
                let mut connection = <$connection>::connect($url).await?;
                for _ in 0..$queries {
                    let _: i32 = sqlx::query_scalar("SELECT 1")
                        .fetch_one(&mut connection)
                        .await?;
                }
            }
            other => bail!("no contender {other}"),
        }
        Ok(())
    }};
}

async fn on_postgres(contender: &str, url: &str, queries: u64) -> anyhow::Result<()> {
    run!(contender, url, queries, Postgres, PgConnection, PgPool)
}

async fn on_sqlite(contender: &str, url: &str, queries: u64) -> anyhow::Result<()> {
    run!(
        contender,
        url,
        queries,
        Sqlite,
        SqliteConnection,
        SqlitePool
    )
}
