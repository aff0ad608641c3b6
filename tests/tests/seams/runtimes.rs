//! Engines are forgotten and closed with their runtime.

use std::thread;

use anyhow::{Context, ensure};
use poolhouse::{AcquireError, AcquireKind, Engine, Settings, engine_finder_with};
use poolhouse_tests::{CaseDatabase, Sql, Subject, subject::Own};
use tokio::runtime::Builder;

use super::{settings, started};
use crate::table::case_databases;

case_databases! {
    case_47_sessions_end_with_the_runtime: sessions, on (postgres, mariadb);
    case_47_runtimes_come_and_go: memory, on (sqlite);
    case_47_an_engine_that_outlives_its_runtime_is_closed: outlives, on (postgres, mariadb, sqlite);
    case_47_an_engine_of_the_process_can_be_started_on_the_next_runtime: of_the_process, on (postgres, mariadb, sqlite);
    a_runtime_that_ends_during_a_start_or_a_close: in_the_middle, on (postgres, mariadb);
}

/// Runs on a new runtime, which ends without a close. 0 threads make a current-thread one.
fn on_a_runtime<T: Send>(
    threads: usize,
    run: impl AsyncFnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    thread::scope(|scope| {
        let run = scope.spawn(|| {
            let mut builder = match threads {
                0 => Builder::new_current_thread(),
                threads => {
                    let mut builder = Builder::new_multi_thread();
                    builder.worker_threads(threads);
                    builder
                }
            };
            builder.enable_all().build()?.block_on(run())
        });
        run.join().ok().context("it has panicked")?
    })
}

async fn sessions<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let node = Settings::new().url(case_database.url());
    let settings = settings("ends", case_database.url())
        .min_size(2)
        .node("replica1", node);
    for threads in [0, 2] {
        on_a_runtime(threads, async || {
            let engine: Engine<DB> = started(&settings).await?;
            Own(engine).execute("SELECT 1").await?;
            Ok(())
        })?;
        case_database.no_session_left().await?;
    }
    Ok(())
}

/// The resident memory of this process, in KiB. <https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>
fn resident() -> anyhow::Result<i64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(number.context("no VmRSS")?.parse()?)
}

async fn memory<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    let settings = settings("come_and_go", case_database.url()).lazy(true);
    let live = |rounds: usize| {
        for _ in 0..rounds {
            on_a_runtime(0, async || {
                let engine: Engine<DB> = engine_finder_with(&settings)?;
                engine.start_connection_pool().await?;
                Ok(())
            })?;
        }
        anyhow::Ok(())
    };
    // One-time allocations happen now.
    live(100)?;
    // The fault was 6.5 KiB for each. Other tests of this process make it grow too, but not for ever.
    let mut grown = Vec::new();
    for _ in 0..4 {
        let before = resident()?;
        live(1000)?;
        grown.push(resident()? - before);
        if grown.last() < Some(&4000) {
            return Ok(());
        }
    }
    anyhow::bail!("{grown:?} KiB, each for a thousand runtimes")
}

async fn outlives<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let settings = settings("outlives", case_database.url());
    let engine = on_a_runtime(2, async || started::<DB>(&settings).await)?;
    let shown = format!("{engine:?}");
    ensure!(shown.contains("\"closed\""), "{shown}");
    let error = engine.acquire().await.err().context("it can be used")?;
    let kind = AcquireError::find(&error).map(AcquireError::kind);
    ensure!(kind == Some(AcquireKind::Closed), "{error}");
    // It can be started on this runtime.
    engine.start_connection_pool().await?;
    Own(engine.clone()).execute("SELECT 1").await?;
    engine.close_connection_pool().await;
    case_database.no_session_left().await
}

async fn of_the_process<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    // Both flavours of the test run in one process at the same time.
    let name = format!("process_{:?}", thread::current().id());
    let settings = settings(&name, case_database.url());
    let outside = thread::spawn({
        let settings = settings.clone();
        move || engine_finder_with::<DB>(&settings)
    });
    let outside = outside.join().ok().context("it has panicked")??;
    for threads in [0, 2, 0] {
        on_a_runtime(threads, async || {
            let engine: Engine<DB> = started(&settings).await?;
            Own(engine.clone()).execute("SELECT 1").await?;
            ensure!(outside.status().size == 1, "it is another one");
            Ok(())
        })?;
        ensure!(outside.status().size == 0, "{}", outside.status());
        case_database.no_session_left().await?;
    }
    Ok(())
}

async fn in_the_middle<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let (proxy, url) = super::through_proxy(&case_database)?;
    let settings = settings("middle", &url).close_timeout("1h");
    for threads in [0, 2] {
        proxy.stop();
        let engine: Engine<DB> = on_a_runtime(threads, async || {
            let engine: Engine<DB> = engine_finder_with(&settings)?;
            let start = tokio::spawn({
                let engine = engine.clone();
                async move { engine.start_connection_pool().await }
            });
            proxy.open_become(1).await?;
            drop(start);
            Ok(engine)
        })?;
        proxy.pass();
        super::bounded("a later start", engine.start_connection_pool()).await??;
        engine.close_connection_pool().await;

        let engine: Engine<DB> = on_a_runtime(threads, async || {
            let engine: Engine<DB> = started(&settings).await?;
            std::mem::forget(engine.acquire().await?);
            let close = engine.close_connection_pool();
            ensure!(poolhouse_tests::steps::up_to(1, close).await.is_none());
            Ok(engine)
        })?;
        super::bounded("a second close", engine.close_connection_pool()).await?;
        super::bounded("a later start", engine.start_connection_pool()).await??;
        engine.close_connection_pool().await;
        proxy.reset();
    }
    case_database.no_session_left().await
}
