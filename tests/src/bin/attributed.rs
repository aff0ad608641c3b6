//! A program under `#[with_pool]`, for tests of how programs end: `attributed <body>`.
//!
//! `DATABASE_URL` selects the database, `POOL` an `engine` or a `sqlx` pool as the body's parameter, or a `lifespan` instead of it,
//! and `POOLHOUSE_FLAVOR` the
//! runtime. With `SHUTDOWN`, the body takes a `Shutdown` too. The program prints `ready` when the test may begin.

use std::{env, future::pending, mem, process, sync::OnceLock, thread, time::Duration};

use anyhow::{Context, bail};
use poolhouse::Shutdown;
use poolhouse_tests::{
    Sql, Subject,
    subject::{Own, SqlxAlone},
};

fn main() -> anyhow::Result<()> {
    // Everything is logged, so that a test can check what must not be logged.
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(std::io::stderr)
        .init();
    let url = env::var("DATABASE_URL")?;
    let scheme = url.split(':').next().unwrap_or_default();
    let pool = env::var("POOL").unwrap_or_else(|_| "engine".to_owned());
    let shutdown = env::var_os("SHUTDOWN").is_some();
    if pool == "lifespan" {
        return lifespan::main();
    }
    match (scheme, pool.as_str(), shutdown) {
        ("postgres", "engine", false) => postgres_engine::main(),
        ("postgres", "engine", true) => postgres_engine_with_shutdown::main(),
        ("postgres", "sqlx", false) => postgres_sqlx::main(),
        ("postgres", "sqlx", true) => postgres_sqlx_with_shutdown::main(),
        ("mysql", "engine", false) => mysql_engine::main(),
        ("mysql", "engine", true) => mysql_engine_with_shutdown::main(),
        ("mysql", "sqlx", false) => mysql_sqlx::main(),
        ("mysql", "sqlx", true) => mysql_sqlx_with_shutdown::main(),
        ("sqlite", "engine", false) => sqlite_engine::main(),
        ("sqlite", "engine", true) => sqlite_engine_with_shutdown::main(),
        ("sqlite", "sqlx", false) => sqlite_sqlx::main(),
        ("sqlite", "sqlx", true) => sqlite_sqlx_with_shutdown::main(),
        other => bail!("no program for {other:?}"),
    }
}

/// One attributed `main` for each parameter type, because the type selects the pool.
macro_rules! mains {
    ($($name:ident $with_shutdown:ident: $parameter:ty => $subject:ident;)+) => {$(
        mod $name {
            #[poolhouse::with_pool]
            pub(super) async fn main(db: $parameter) -> anyhow::Result<()> {
                super::body(super::$subject(db), None).await
            }
        }

        mod $with_shutdown {
            #[poolhouse::with_pool]
            pub(super) async fn main(db: $parameter, shutdown: poolhouse::Shutdown) -> anyhow::Result<()> {
                super::body(super::$subject(db), Some(shutdown)).await
            }
        }
    )+};
}

mains! {
    postgres_engine postgres_engine_with_shutdown: poolhouse::PgEngine => Own;
    postgres_sqlx postgres_sqlx_with_shutdown: sqlx::PgPool => SqlxAlone;
    mysql_engine mysql_engine_with_shutdown: poolhouse::MySqlEngine => Own;
    mysql_sqlx mysql_sqlx_with_shutdown: sqlx::MySqlPool => SqlxAlone;
    sqlite_engine sqlite_engine_with_shutdown: poolhouse::SqliteEngine => Own;
    sqlite_sqlx sqlite_sqlx_with_shutdown: sqlx::SqlitePool => SqlxAlone;
}

/// A lifespan with signals of its own, in a `main` that goes on after it.
mod lifespan {
    use std::future::pending;

    #[tokio::main]
    pub(super) async fn main() -> anyhow::Result<()> {
        serve().await?;
        println!("served");
        pending().await
    }

    #[poolhouse::with_pool(signals = true)]
    async fn serve(#[pool] db: poolhouse::PgEngine) -> anyhow::Result<()> {
        sqlx::query("SELECT 1").execute(&db).await?;
        Ok(())
    }
}

#[expect(
    clippy::too_many_lines,
    reason = "a table: one arm for each way to end"
)]
async fn body<S: Subject>(pool: S, shutdown: Option<Shutdown>) -> anyhow::Result<()> {
    let name = env::args().nth(1).context("usage: attributed <body>")?;
    pool.execute("SELECT 1").await?;
    match name.as_str() {
        "returns" => {}
        "fails" => fails(&pool).await?,
        "returns_an_error" => return Err(anyhow::anyhow!("the body's own error")),
        "panics" => {
            let _held = pool.acquire().await?;
            panic!("the body's own panic");
        }
        "task_panics" => {
            let held = pool.acquire().await?;
            let task = tokio::spawn(async move {
                let _held = held;
                panic!("the task's own panic");
            });
            let ended = task.await;
            println!("panicked: {}", ended.is_err_and(|error| error.is_panic()));
        }
        "exits" => {
            let _transaction = pool.begin().await?;
            process::exit(7);
        }
        "transaction" => {
            let mut transaction = pool.begin().await?;
            S::Db::run(transaction.as_mut(), "INSERT INTO entry VALUES (1)").await?;
            ready();
            pending::<()>().await;
        }
        "waits" => {
            ready();
            wait(shutdown).await;
        }
        "waits_and_fails" => {
            ready();
            wait(shutdown).await;
            bail!("the body's own error");
        }
        "never_returns" => {
            ready();
            pending::<()>().await;
        }
        "holds" => {
            // Runs longer than any limit, in a task that the body does not await.
            let sleep = S::Db::SLEEP.context("nothing runs for long here")?;
            tokio::spawn(pool.execute(sleep));
            ready();
            wait(shutdown).await;
        }
        "ignores" => {
            let sleep = S::Db::SLEEP.context("nothing runs for long here")?;
            ready();
            pool.execute(sleep).await?;
        }
        "works_on" => {
            // A task finishes its work shortly after the signal.
            let mut transaction = pool.begin().await?;
            tokio::spawn(async move {
                wait_for_the_close(&pool).await;
                let result = S::Db::run(transaction.as_mut(), "INSERT INTO entry VALUES (1)").await;
                let committed = result.is_ok() && S::commit(transaction).await.is_ok();
                println!("committed: {committed}");
            });
            ready();
            wait(shutdown).await;
        }
        "blocks" => {
            ready();
            loop {
                thread::sleep(Duration::from_mins(1));
            }
        }
        "blocking_task" => {
            tokio::task::spawn_blocking(|| {
                loop {
                    thread::sleep(Duration::from_mins(1));
                }
            });
            ready();
            wait(shutdown).await;
        }
        "panics_in_drop" => {
            struct Panics;
            impl Drop for Panics {
                fn drop(&mut self) {
                    panic!("the drop's own panic");
                }
            }
            let _panics = Panics;
            ready();
            pending::<()>().await;
        }
        "static" => {
            static POOL: OnceLock<Box<dyn std::any::Any + Send + Sync>> = OnceLock::new();
            let _ = POOL.set(Box::new(pool));
        }
        "leaks" => mem::forget(pool.acquire().await?),
        "another_runtime" => {
            let other = thread::spawn({
                let pool = pool.clone();
                move || -> anyhow::Result<()> {
                    let runtime = tokio::runtime::Runtime::new()?;
                    Ok(runtime.block_on(pool.execute("SELECT 1"))?)
                }
            });
            while !other.is_finished() {
                tokio::task::yield_now().await;
            }
            other.join().ok().context("it has panicked")??;
            pool.execute("SELECT 1").await?;
        }
        other => bail!("there is no body {other}"),
    }
    println!("the body is over");
    Ok(())
}

fn ready() {
    println!("ready");
}

async fn fails<S: Subject>(pool: &S) -> anyhow::Result<()> {
    pool.execute("SELECT nonsense").await?;
    Ok(())
}

async fn wait(shutdown: Option<Shutdown>) {
    match shutdown {
        Some(shutdown) => shutdown.wait().await,
        None => pending().await,
    }
}

async fn wait_for_the_close<S: Subject>(pool: &S) {
    while pool.acquire().await.is_ok() {
        tokio::task::yield_now().await;
    }
}
