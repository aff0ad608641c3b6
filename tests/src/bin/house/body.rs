//! What the two houses do.

use std::future::pending;

use poolhouse::{AnyEngine, Shutdown};

/// Uses the database, says so, and ends as the first argument says.
pub(crate) async fn run(db: AnyEngine, shutdown: Option<Shutdown>) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .init();
    let two: i64 = sqlx::query_scalar("SELECT 2").fetch_one(&db).await?;
    anyhow::ensure!(two == 2, "the database answers");

    let way = std::env::args().nth(1).unwrap_or_default();
    if way == "hold" {
        let checkout = db.acquire().await?;
        tokio::spawn(async move {
            pending::<()>().await;
            drop(checkout);
        });
    }
    println!("open: {}", db.status());
    match way.as_str() {
        "return" => return Ok(()),
        "question mark" => {
            sqlx::query("SELECT nothing FROM nowhere")
                .execute(&db)
                .await?;
        }
        "error" => anyhow::bail!("as asked"),
        "panic" => panic!("as asked"),
        "exit" => std::process::exit(7),
        _ => {}
    }
    match shutdown {
        Some(shutdown) if way == "finish" => {
            shutdown.wait().await;
            println!("asked to end");
            Ok(())
        }
        Some(shutdown) if way == "finish with error" => {
            shutdown.wait().await;
            anyhow::bail!("could not finish")
        }
        // Deaf, or without ears.
        _ => pending().await,
    }
}
