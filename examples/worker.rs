//! A worker that takes jobs from a table and ends only between two jobs.
//!
//! ```sh
//! cargo run --example worker      # then Ctrl-C, or: kill <its process id>
//! ```
//!
//! The jobs are in `worker.db` in the working directory, or in the database of `JOBS_DATABASE_URL`. A job and its result are one
//! transaction: if the process is killed during a job, the job stays in the table for the next worker.
//!
//! Because `main` takes a [`Shutdown`], a signal does not end its body. The body has `shutdown_timeout` to finish the current job
//! and return. Then the pool is closed, and the exit code is the body's own, 0.

use std::time::Duration;

use poolhouse::{Shutdown, SqliteEngine, with_pool};
use tokio::time::sleep;

/// The time that an idle worker waits before it looks for jobs again.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

#[with_pool(engine = "jobs", url = "sqlite:worker.db?mode=rwc", max_size = 2)]
async fn main(db: SqliteEngine, shutdown: Shutdown) -> anyhow::Result<()> {
    tracing_subscriber::fmt().init();
    fill_queue(&db).await?;

    while !shutdown.is_set() {
        if !do_next_job(&db).await? {
            tokio::select! {
                () = sleep(POLL_INTERVAL) => {}
                () = shutdown.wait() => {}
            }
        }
    }
    Ok(())
}

/// Does one job; returns `false` if there is none.
async fn do_next_job(db: &SqliteEngine) -> anyhow::Result<bool> {
    let mut transaction = db.begin().await?;
    // SQLite has one writer at a time. With several workers on Postgres or MySQL, the inner SELECT would end in
    // `FOR UPDATE SKIP LOCKED`, so that each worker gets another job.
    let job: Option<(i64, String)> = sqlx::query_as(
        "DELETE FROM job WHERE id = (SELECT id FROM job ORDER BY id LIMIT 1) RETURNING id, task",
    )
    .fetch_optional(&mut transaction)
    .await?;
    let Some((id, task)) = job else {
        return Ok(false);
    };

    println!("job {id} begun: {task}");
    let result = perform(&task).await;
    sqlx::query("INSERT INTO finished_job (id, result) VALUES (?, ?)")
        .bind(id)
        .bind(result)
        .execute(&mut transaction)
        .await?;
    transaction.commit().await?;
    println!("job {id} done");
    Ok(true)
}

/// The work itself, here only a delay.
async fn perform(task: &str) -> String {
    sleep(Duration::from_millis(500)).await;
    task.to_uppercase()
}

/// Puts a few jobs into the table; in a real system another program does this.
async fn fill_queue(db: &SqliteEngine) -> sqlx::Result<()> {
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS job (id INTEGER PRIMARY KEY AUTOINCREMENT, task TEXT NOT NULL);
         CREATE TABLE IF NOT EXISTS finished_job (id INTEGER PRIMARY KEY, result TEXT NOT NULL);
         INSERT INTO job (task) VALUES ('tune the guitars'), ('print the posters'), ('load the van'), ('book the hotel');",
    )
    .execute(db)
    .await?;
    Ok(())
}
