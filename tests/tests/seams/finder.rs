//! One engine per name and scope.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use anyhow::{Context, ensure};
use futures_util::future::join_all;
use poolhouse::{Engine, Left, Settings, engine_finder_with, with_pool};
use poolhouse_tests::{CaseDatabase, Sql};
use tokio::sync::Barrier;

use super::{settings, started, through_proxy};
use crate::table::case_databases;

case_databases! {
    case_34_tasks_that_look_up_and_start_at_once_get_one_engine: one_engine, on (postgres, mariadb, sqlite);
    case_35_functions_that_are_called_at_once_share_one_pool: one_pool, on (postgres, mariadb, sqlite);
    case_35_functions_on_a_sqlx_pool_share_it: one_sqlx_pool, on (postgres, mariadb, sqlite);
    case_35_functions_that_begin_and_end_at_random_have_one_pool: begin_and_end, on (postgres, mariadb);
    case_46_a_look_up_with_other_settings_while_the_engine_starts: other_settings, on (postgres, mariadb);
    the_last_look_up_before_the_start_has_the_last_word: last_word, on (postgres, mariadb, sqlite);
    a_start_that_fails_fails_for_all_who_wait: one_failure, on (postgres, mariadb);
    an_engine_that_somebody_holds_is_not_made_again: held, on (postgres, mariadb, sqlite);
}

const ROUNDS: usize = 20;
const TASKS: usize = 8;

async fn one_engine<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    for round in 0..ROUNDS {
        let settings = settings(&format!("at_once_{round}"), case_database.url()).max_size(1);
        let barrier = Arc::new(Barrier::new(TASKS));
        let tasks = (0..TASKS).map(|_| {
            let (settings, barrier) = (settings.clone(), Arc::clone(&barrier));
            tokio::spawn(async move {
                barrier.wait().await;
                let engine: Engine<DB> = engine_finder_with(&settings)?;
                engine.start_connection_pool().await?;
                Ok::<_, anyhow::Error>(engine)
            })
        });
        let tasks: Vec<_> = tasks.collect();
        let mut engines = Vec::new();
        for engine in join_all(tasks).await {
            engines.push(engine??);
        }
        // There is one pool: all engines count the checkout of the first.
        let held = engines[0].acquire().await?;
        for engine in &engines {
            let status = engine.status();
            ensure!(status.in_use == 1 && status.size == 1, "{status}");
        }
        if let CaseDatabase::Server(database) = &case_database {
            // Sessions of the rounds before may still be ending.
            let what = "one session is there";
            database
                .sessions_become(what, |open| open.len() == 1)
                .await?;
        }
        drop(held);
        let mut shared = 0;
        for engine in &engines {
            let report = engine.close_connection_pool().await;
            shared += usize::from(report.left == Some(Left::Shared));
        }
        ensure!(shared == TASKS - 1, "{shared} were told that it is shared");
    }
    case_database.closed_in_good_order().await
}

/// The number of tasks inside, now and at most.
#[derive(Default)]
struct Inside {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Inside {
    async fn with<T>(&self, work: impl Future<Output = T>) -> T {
        let now = self.now.fetch_add(1, Relaxed) + 1;
        self.most.fetch_max(now, Relaxed);
        let result = work.await;
        self.now.fetch_sub(1, Relaxed);
        result
    }
}

#[with_pool(engine = "one_pool", url = url, max_size = 1)]
async fn function<DB: Sql>(
    url: &str,
    inside: &Inside,
    #[pool] db: Engine<DB>,
) -> Result<(), poolhouse::Error> {
    let _ = url;
    let held = db.acquire().await?;
    inside
        .with(async {
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    drop(held);
    Ok(())
}

async fn one_pool<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let url: &'static str = case_database.url().leak();
    for round in 0..ROUNDS {
        let inside: &'static Inside = Box::leak(Box::default());
        let calls = (0..4).map(|_| tokio::spawn(function::<DB>(url, inside)));
        for ended in join_all(calls.collect::<Vec<_>>()).await {
            ended??;
        }
        let most = inside.most.load(Relaxed);
        ensure!(most == 1, "{most} connections were out in round {round}");
    }
    case_database.closed_in_good_order().await
}

#[with_pool(engine = "one_sqlx_pool", url = url, max_size = 1)]
async fn function_on_sqlx<DB: Sql>(
    url: &str,
    inside: &Inside,
    #[pool] db: sqlx::Pool<DB>,
) -> Result<(), poolhouse::Error> {
    let _ = url;
    let held = db.acquire().await?;
    inside.with(tokio::task::yield_now()).await;
    drop(held);
    Ok(())
}

async fn one_sqlx_pool<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let url: &'static str = case_database.url().leak();
    for round in 0..ROUNDS {
        let inside: &'static Inside = Box::leak(Box::default());
        let calls = (0..4).map(|_| tokio::spawn(function_on_sqlx::<DB>(url, inside)));
        for ended in join_all(calls.collect::<Vec<_>>()).await {
            ended??;
        }
        let most = inside.most.load(Relaxed);
        ensure!(most == 1, "{most} connections were out in round {round}");
    }
    case_database.no_session_left().await
}

/// Functions begin while others end. A look-up during the close of the engine must not make a second one.
async fn begin_and_end<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let url: &'static str = case_database.url().leak();
    let inside: &'static Inside = Box::leak(Box::default());
    let tasks = (0..6).map(|_| {
        tokio::spawn(async move {
            for _ in 0..15 {
                function::<DB>(url, inside).await?;
                if fastrand::bool() {
                    tokio::task::yield_now().await;
                }
            }
            Ok::<_, poolhouse::Error>(())
        })
    });
    for ended in join_all(tasks.collect::<Vec<_>>()).await {
        ended??;
    }
    let most = inside.most.load(Relaxed);
    ensure!(most == 1, "{most} connections were out");
    case_database.closed_in_good_order().await
}

async fn other_settings<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let (proxy, url) = through_proxy(&case_database)?;
    proxy.stop();
    let node = Settings::new().url(case_database.url());
    let own = settings("starting", &url)
        .max_size(3)
        .node("replica1", node);
    let engine: Engine<DB> = engine_finder_with(&own)?;
    let start = tokio::spawn({
        let engine = engine.clone();
        async move { engine.start_connection_pool().await }
    });
    proxy.open_become(1).await?;

    let other = settings("starting", &url).max_size(4);
    let error = engine_finder_with::<DB>(&other).err().context("not told")?;
    let said = error.to_string();
    for words in [
        "engine `starting` is already started with other settings: max_size = 4 (builder, ",
        ", started with max_size = 3 (builder, ",
    ] {
        ensure!(said.contains(words), "{words:?} is not in {said}");
    }
    // The same settings, and the name alone, are accepted.
    engine_finder_with::<DB>(&own)?;
    engine_finder_with::<DB>(&Settings::new().engine("starting"))?;
    engine.node("replica1")?;

    proxy.pass();
    start.await??;
    let node = engine.node("replica1")?;
    ensure!(engine.status().max == 3, "{}", engine.status());
    ensure!(node.status().max == 3, "{}", node.status());
    ensure!(engine_finder_with::<DB>(&other).is_err(), "not told");
    engine.node("replica1")?;
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await?;
    // After the close, the other settings are used.
    let engine: Engine<DB> = started(&other).await?;
    ensure!(engine.status().max == 4, "{}", engine.status());
    ensure!(engine.node("replica1").is_err());
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}

async fn last_word<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    for size in [5, 7] {
        engine_finder_with::<DB>(&settings("last", case_database.url()).max_size(size))?;
    }
    let engine = engine_finder_with::<DB>(&Settings::new().engine("last"))?;
    engine.start_connection_pool().await?;
    ensure!(engine.status().max == 7, "{}", engine.status());
    engine.close_connection_pool().await;
    Ok(())
}

async fn one_failure<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let (proxy, url) = through_proxy(&case_database)?;
    proxy.refuse();
    let settings = settings("fails", url).start_timeout("3s");
    let engine: Engine<DB> = engine_finder_with(&settings)?;
    let starts = (0..20).map(|_| engine.start_connection_pool());
    // One after the other, they would take twenty times as long.
    let failed = super::bounded("the starts", join_all(starts)).await?;
    for failed in failed {
        let said = failed.err().context("it has started")?.to_string();
        ensure!(said.contains("the server refused the connection"), "{said}");
    }
    proxy.pass();
    engine.start_connection_pool().await?;
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}

async fn held<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let url = case_database.url();
    let named = Settings::new().engine("one_pool");
    // No handle is left, and the engine is forgotten.
    function::<DB>(&url, &Inside::default()).await?;
    ensure!(engine_finder_with::<DB>(&named).is_err(), "it is known");
    // A handle is left, and the engine stays the same.
    let engine: Engine<DB> = engine_finder_with(&settings("one_pool", &url))?;
    function::<DB>(&url, &Inside::default()).await?;
    let again: Engine<DB> = engine_finder_with(&named)?;
    again.start_connection_pool().await?;
    ensure!(engine.status().size == 1, "it is another one");
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}
