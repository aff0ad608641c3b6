//! A program that sets up its logging before its pool starts, or in its body: `logs <logger> <when>`.
//!
//! The logger is `env_logger`, `tracing`, `both` or `none`; `when` is `before` or `in_body`. Every line is a level and a message.

use std::io::Write;

use anyhow::bail;
use poolhouse::{SqliteEngine, with_pool};
use tracing_subscriber::filter::LevelFilter;

fn main() -> anyhow::Result<()> {
    if argument(2) == "before" {
        set_up()?;
    }
    program::main()
}

mod program {
    use super::{SqliteEngine, argument, set_up, with_pool};

    #[with_pool(url = "sqlite::memory:", extensions("citext"), query_spans = "info")]
    pub(super) async fn main(db: SqliteEngine) -> anyhow::Result<()> {
        if argument(2) != "before" {
            set_up()?;
        }
        sqlx::raw_sql("SELECT 1").execute(&db).await?;
        tracing::warn!(target: "library", "of a library that uses tracing");
        log::warn!(target: "library", "of a library that uses log");
        println!("done");
        Ok(())
    }
}

fn argument(index: usize) -> String {
    std::env::args().nth(index).unwrap_or_default()
}

fn set_up() -> anyhow::Result<()> {
    match argument(1).as_str() {
        "env_logger" => set_up_log(),
        "tracing" => set_up_tracing()?,
        "both" => {
            set_up_log();
            set_up_tracing()?;
        }
        "none" => {}
        other => bail!("there is no logger {other:?}"),
    }
    Ok(())
}

fn set_up_log() {
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Info)
        .format(|out, record| writeln!(out, "log: {} {}", record.level(), record.args()))
        .init();
}

/// Sets the subscriber. `init` would replace `env_logger` too.
fn set_up_tracing() -> anyhow::Result<()> {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .finish();
    Ok(tracing::subscriber::set_global_default(subscriber)?)
}
