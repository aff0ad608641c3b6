//! Two databases in one program: one for orders, the other for reports about them.
//!
//! ```sh
//! cargo run --example two_engines
//! ```
//!
//! The engines start side by side and close side by side. Each has its own settings, under its own name:
//!
//! | engine | URL | most connections |
//! |---|---|---|
//! | `default` | `DATABASE_URL`, else `shop.db` here | `POOLHOUSE_MAX_SIZE` |
//! | `reports` | `REPORTS_DATABASE_URL`, else `reports.db` here | `POOLHOUSE_REPORTS_MAX_SIZE`, else 2 |

use poolhouse::{SqliteEngine, with_pool};

#[with_pool(url = "sqlite:shop.db?mode=rwc")]
async fn main(
    shop: SqliteEngine,
    #[pool(engine = "reports", url = "sqlite:reports.db?mode=rwc", max_size = 2)]
    reports: SqliteEngine,
) -> anyhow::Result<()> {
    tracing_subscriber::fmt().init();

    tokio::try_join!(take_orders(&shop), create_report(&reports))?;

    let sold: Vec<(String, i64)> =
        sqlx::query_as("SELECT record, sum(copies) FROM purchase GROUP BY record")
            .fetch_all(&shop)
            .await?;
    let mut report = reports.begin().await?;
    for (record, copies) in &sold {
        sqlx::query("INSERT INTO bestseller (record, copies) VALUES (?, ?)")
            .bind(record)
            .bind(copies)
            .execute(&mut report)
            .await?;
    }
    report.commit().await?;

    let (record, copies): (String, i64) =
        sqlx::query_as("SELECT record, copies FROM bestseller ORDER BY copies DESC LIMIT 1")
            .fetch_one(&reports)
            .await?;
    println!("Best seller: {record}, {copies} copies");
    Ok(())
}

async fn take_orders(shop: &SqliteEngine) -> sqlx::Result<()> {
    sqlx::raw_sql(
        "DROP TABLE IF EXISTS purchase;
         CREATE TABLE purchase (record TEXT NOT NULL, copies INTEGER NOT NULL);
         INSERT INTO purchase VALUES ('Zero Cost', 3), ('Fearless', 5), ('Zero Cost', 4);",
    )
    .execute(shop)
    .await?;
    Ok(())
}

async fn create_report(reports: &SqliteEngine) -> sqlx::Result<()> {
    sqlx::raw_sql(
        "DROP TABLE IF EXISTS bestseller;
         CREATE TABLE bestseller (record TEXT PRIMARY KEY, copies INTEGER NOT NULL);",
    )
    .execute(reports)
    .await?;
    Ok(())
}
