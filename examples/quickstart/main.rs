//! An embedded database, its pool, and many tasks that share it.
//!
//! ```sh
//! cargo run --example quickstart
//! ```
//!
//! Nothing has to be installed. The database is the file `quickstart.db` in the working directory; every run begins with an empty
//! table. The engine has a name, so its variable for another database is `QUICKSTART_DATABASE_URL`, and the program ignores a
//! `DATABASE_URL` that you have set for other programs.
//!
//! The first and the last line of the log show that `#[with_pool]` starts the pool before the body of `main` and closes it after.

use poolhouse::{SqliteEngine, with_pool};
use tokio::task::JoinSet;

const CONCERTS: [(&str, &str, u32); 8] = [
    ("Rustaceans", "Berlin", 420),
    ("Rustaceans", "Lyon", 380),
    ("Borrow Checkers", "Berlin", 150),
    ("Borrow Checkers", "Oslo", 260),
    ("The Lifetimes", "Lyon", 90),
    ("The Lifetimes", "Oslo", 310),
    ("The Lifetimes", "Porto", 205),
    ("Rustaceans", "Porto", 175),
];

#[with_pool(
    engine = "quickstart",
    url = "sqlite:quickstart.db?mode=rwc",
    max_size = 4
)]
async fn main(db: SqliteEngine) -> anyhow::Result<()> {
    tracing_subscriber::fmt().init();

    sqlx::query("DROP TABLE IF EXISTS concert")
        .execute(&db)
        .await?;
    sqlx::query(
        "CREATE TABLE concert (band TEXT NOT NULL, city TEXT NOT NULL, guests INTEGER NOT NULL)",
    )
    .execute(&db)
    .await?;

    // An engine is cheap to clone: give one to each task, and they share the four connections.
    let mut tasks = JoinSet::new();
    for (band, city, guests) in CONCERTS {
        let db = db.clone();
        tasks.spawn(async move {
            sqlx::query("INSERT INTO concert (band, city, guests) VALUES (?, ?, ?)")
                .bind(band)
                .bind(city)
                .bind(guests)
                .execute(&db)
                .await
        });
    }
    while let Some(inserted) = tasks.join_next().await {
        inserted??;
    }

    let bands: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT band, count(*), sum(guests) FROM concert GROUP BY band ORDER BY sum(guests) DESC",
    )
    .fetch_all(&db)
    .await?;
    for (band, concerts, guests) in bands {
        println!("{band}: {guests} guests in {concerts} concerts");
    }
    println!("The pool now: {}", db.status());
    Ok(())
}
