//! A command-line tool: clap parses the arguments before the pool is started.
//!
//! ```sh
//! cargo run --example cli -- --help                           # starts no pool
//! cargo run --example cli -- add "The Lifetimes" 2015
//! cargo run --example cli -- list
//! ```
//!
//! The bands are in `cli.db` in the working directory, or in the database of `DATABASE_URL`. `main` parses the arguments and
//! passes them to a lifespan function. So a wrong argument, `--help` and `--version` end the program before its pool is started.

use clap::{Parser, Subcommand};
use poolhouse::{SqliteEngine, with_pool};

/// Keeps a list of bands.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Adds a band.
    Add {
        /// Its name.
        name: String,
        /// The year in which it was founded.
        founded: i32,
    },
    /// Lists the bands.
    List,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    run(arguments.command).await
}

/// Runs the command. SIGINT and SIGTERM end it, and uncommitted changes are rolled back.
#[with_pool(
    url = "sqlite:cli.db?mode=rwc",
    migrations = "migrations",
    max_size = 1,
    signals = true
)]
async fn run(command: Command, #[pool] db: SqliteEngine) -> anyhow::Result<()> {
    match command {
        Command::Add { name, founded } => {
            sqlx::query("INSERT INTO band (name, founded) VALUES (?, ?)")
                .bind(&name)
                .bind(founded)
                .execute(&db)
                .await?;
            println!("added {name}");
        }
        Command::List => {
            let bands: Vec<(String, i32)> =
                sqlx::query_as("SELECT name, founded FROM band ORDER BY name")
                    .fetch_all(&db)
                    .await?;
            for (name, founded) in bands {
                println!("{name}, since {founded}");
            }
        }
    }
    Ok(())
}
