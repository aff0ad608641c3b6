//! The instructions that the engine adds to a query. Other programs on the machine do not change this number.
//!
//! ```text
//! cargo bench --bench instructions
//! ```
//!
//! The program runs itself under `valgrind --tool=callgrind`, one task on one thread, with two numbers of queries. The difference
//! is the cost of the queries alone. `allocations` are calls of the allocator in the same difference, and `tracing` are the
//! instructions whose source is `tracing` or the pool's `spans.rs`. Each count is the minimum of several runs, because a further
//! poll for a late answer only adds to it.
//!
//! `engine, spans` has `query_spans = "info"` and, like `engine`, no subscriber. The last line is the cost of spans as a ratio to
//! `engine`, for the worse of both databases: `bar: spans_info=1.00`. There is no build without spans to compare with. Their cost
//! when they are off is the column `tracing` of `engine`, less that of `dedicated`, whose driver uses `tracing` itself. It
//! includes the feature `metrics`, which is on here and searches statements for keywords.

#![allow(unreachable_pub, missing_docs, reason = "a program")]

#[path = "support/database.rs"]
mod database;

use std::env;
use std::process::Command;

use anyhow::{Context, bail, ensure};
use poolhouse::{Engine, Settings, engine_finder_with};
use poolhouse_tests::Kind;
use sqlx::{Connection, PgConnection, PgPool, Postgres, Sqlite, SqliteConnection, SqlitePool};

const CONTENDERS: [&str; 4] = ["engine", SPANS, "sqlx::Pool", "dedicated"];
/// The engine with `query_spans = "info"`, and no subscriber.
const SPANS: &str = "engine, spans";
const FEW: u64 = 500;
const MANY: u64 = 2_500;
/// The number of runs for each count.
const RUNS: usize = 3;

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

/// The cost of a run or of a query.
#[derive(Clone, Copy)]
struct Counts {
    instructions: u64,
    /// The instructions of `tracing` and of the pool's spans.
    tracing: u64,
    allocations: u64,
}

impl Counts {
    /// The minimum of each count.
    fn least(self, other: Self) -> Self {
        Self {
            instructions: self.instructions.min(other.instructions),
            tracing: self.tracing.min(other.tracing),
            allocations: self.allocations.min(other.allocations),
        }
    }
}

async fn compare() -> anyhow::Result<()> {
    let measured = database::database(Kind::Postgres).await?;
    println!(
        "{:<12}{:<14}{:>14}{:>14}{:>14}",
        "database", "", "instructions", "tracing", "allocations"
    );
    let mut worst: f64 = 0.0;
    for (name, url) in [
        ("Postgres", measured.database.url()),
        ("SQLite", "sqlite::memory:"),
    ] {
        let mut without = None;
        for contender in CONTENDERS {
            let query = each(contender, url)?;
            println!(
                "{name:<12}{contender:<14}{:>14}{:>14}{:>14}",
                query.instructions, query.tracing, query.allocations
            );
            match (contender, without) {
                ("engine", _) => without = Some(query.instructions),
                (SPANS, Some(without)) => {
                    #[allow(clippy::cast_precision_loss, reason = "they are some thousands")]
                    let ratio = query.instructions as f64 / without as f64;
                    worst = worst.max(ratio);
                }
                _ => {}
            }
        }
    }
    println!("bar: spans_info={worst:.3}");
    Ok(())
}

/// The cost of one query.
fn each(contender: &str, url: &str) -> anyhow::Result<Counts> {
    let few = least(contender, url, FEW)?;
    let many = least(contender, url, MANY)?;
    let each = |few: u64, many: u64| many.saturating_sub(few) / (MANY - FEW);
    Ok(Counts {
        instructions: each(few.instructions, many.instructions),
        tracing: each(few.tracing, many.tracing),
        allocations: each(few.allocations, many.allocations),
    })
}

/// The minimal cost of a run with this many queries.
fn least(contender: &str, url: &str, queries: u64) -> anyhow::Result<Counts> {
    let mut least = count(contender, url, queries)?;
    for _ in 1..RUNS {
        least = least.least(count(contender, url, queries)?);
    }
    Ok(least)
}

/// The cost of a run with this many queries.
fn count(contender: &str, url: &str, queries: u64) -> anyhow::Result<Counts> {
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
    Ok(Counts {
        instructions,
        tracing: of_tracing(&profile),
        allocations: allocations(&profile),
    })
}

/// The instructions whose source is `tracing` or the pool's `spans.rs`, inlined ones included.
fn of_tracing(profile: &str) -> u64 {
    let mut lines = profile.lines();
    let mut instructions = 0;
    let mut counts = false;
    while let Some(line) = lines.next() {
        let file = ["fl=", "fi=", "fe="]
            .iter()
            .find_map(|key| line.strip_prefix(key));
        if let Some(file) = file {
            counts = file.contains("/tracing-") || file.ends_with("/pool/spans.rs");
        } else if line.starts_with("calls=") {
            // The next line is the callee's cost.
            lines.next();
        } else if counts && line.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c)) {
            let cost = line.split(' ').nth(1);
            instructions += cost.and_then(|cost| cost.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    instructions
}

/// The number of calls of malloc or realloc in the profile.
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
            "engine" | SPANS => {
                let mut settings = Settings::new().url($url);
                if $contender == SPANS {
                    settings = settings.query_spans("info");
                }
                let engine: Engine<$database> = engine_finder_with(&settings)?;
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
