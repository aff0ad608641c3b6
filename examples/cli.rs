//! A tool with arguments: clap parses them, and only then the database is needed.
//!
//! ```sh
//! cargo run --example cli -- --help                           # starts no pool
//! cargo run --example cli -- add "The Lifetimes" 2015
//! cargo run --example cli -- list
//! ```
//!
//! The bands are in `cli.db` in the working directory, or where `DATABASE_URL` says. `main` parses the arguments and gives them
//! to a lifespan function, so that a wrong argument, `--help` and `--version` end the program before its pool is started.

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

/// Does what was asked for. SIGINT and SIGTERM end it, with a rollback of what is not committed.
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
