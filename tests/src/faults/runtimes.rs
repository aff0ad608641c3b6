//! Pools that outlive a runtime, and runtimes that outlive a pool.

use std::thread;

use anyhow::{Context, ensure};
use tokio::runtime::Builder;

use super::{bounded, case_database};
use crate::{CaseDatabase, Options, Session, Sql, Subject};

/// 24: checkouts in every state are dropped on a thread without a runtime. Nothing aborts, and the slot is free.
pub async fn dropped_outside<S: Subject>() -> anyhow::Result<()> {
    let case_database = case_database!(S, "outside");
    let pool = S::start(Options {
        max_size: 1,
        ..Options::new(case_database.url())
    })
    .await?;
    let drop_outside = |dropped: Box<dyn Send>| {
        let result = thread::spawn(|| drop(dropped)).join();
        result.ok().context("the drop has panicked")
    };
    drop_outside(Box::new(pool.acquire().await?))?;
    let mut used = bounded("the place", pool.acquire()).await??;
    S::Db::run(used.as_mut(), "SELECT 1").await?;
    drop_outside(Box::new(used))?;
    drop_outside(Box::new(bounded("the place", pool.begin()).await??))?;
    bounded("the place", pool.execute("SELECT 1")).await??;

    let ended = bounded("the close", pool.close()).await?;
    ensure!(ended.is_empty(), "{ended:?}");
    case_database.closed_in_good_order().await
}

/// 24, further: checkouts are dropped after their pool's runtime has ended. Nothing aborts, and no connection of unknown state
/// goes back into the pool.
pub async fn dropped_after_the_runtime<S: Subject>() -> anyhow::Result<()> {
    let case_database = case_database!(S, "after");
    let options = Options::new(case_database.url());
    let life = thread::spawn(move || -> anyhow::Result<()> {
        let runtime = Builder::new_multi_thread().enable_all().build()?;
        let (pool, clean, transaction) = runtime.block_on(async {
            let pool = S::start(options).await?;
            anyhow::Ok((pool.clone(), pool.acquire().await?, pool.begin().await?))
        })?;
        drop(runtime);
        drop((clean, transaction));
        drop(pool);
        Ok(())
    });
    life.join().ok().context("it has panicked")??;
    if let CaseDatabase::Server(database) = &case_database {
        let transaction_is_over = |sessions: &[Session]| {
            let idle = |session: &Session| session.state == "idle";
            sessions.iter().all(idle) && sessions.len() <= 1
        };
        let what = "the transaction is over";
        database.sessions_become(what, transaction_is_over).await?;
    }
    Ok(())
}

/// 25: the body builds a runtime, uses the pool on it, and drops it. The pool keeps working, and its owner closes it.
pub async fn another_runtime_ends<S: Subject>() -> anyhow::Result<()> {
    let case_database = case_database!(S, "another");
    let pool = S::start(Options::new(case_database.url())).await?;
    let held = pool.acquire().await?;
    let other = thread::spawn({
        let pool = pool.clone();
        move || -> anyhow::Result<()> {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                // The first is open already, and the second is opened on this runtime.
                let two = (pool.acquire().await?, pool.begin().await?);
                pool.execute("SELECT 1").await?;
                drop(two);
                anyhow::Ok(())
            })
        }
    });
    // A blocking join would block the pool's own tasks on a single thread.
    let over = async {
        while !other.is_finished() {
            tokio::task::yield_now().await;
        }
    };
    bounded("the other runtime", over).await?;
    other.join().ok().context("it has panicked")??;
    drop(held);

    for _ in 0..4 {
        bounded("the next query", pool.execute("SELECT 1")).await??;
    }
    let ended = bounded("the close", pool.close()).await?;
    ensure!(ended.is_empty(), "{ended:?}");
    case_database.closed_in_good_order().await
}

/// 47: the runtime ends without a close, and a clone of the pool outlives it. The sessions end with the runtime.
pub async fn ends_without_a_close<S: Subject>() -> anyhow::Result<()> {
    let case_database = case_database!(S, "ends");
    for threads in [0, 2] {
        let options = Options {
            min_size: 2,
            ..Options::new(case_database.url())
        };
        let life = thread::spawn(move || -> anyhow::Result<S> {
            let mut builder = match threads {
                0 => Builder::new_current_thread(),
                _ => Builder::new_multi_thread(),
            };
            builder.enable_all().build()?.block_on(async {
                let pool = S::start(options).await?;
                pool.execute("SELECT 1").await?;
                Ok(pool)
            })
        });
        let pool = life.join().ok().context("it has panicked")??;
        case_database.no_session_left().await?;
        drop(pool);
    }
    Ok(())
}
