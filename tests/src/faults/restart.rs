//! A server that stops and starts again.

use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::{join_all, try_join_all};
use tokio::time::Instant;

use super::bounded;
use crate::{CaseDatabase, Options, PrivateServer, Sql, Stop, Subject};

/// A server that only this case restarts, and a database on it; `None` outside `tests/run`.
pub(super) async fn own_server<DB: Sql>(
    hint: &str,
) -> anyhow::Result<Option<(PrivateServer, CaseDatabase)>> {
    let kind = DB::SERVER.context("this case needs a server")?;
    let Some(builder) = PrivateServer::require(kind) else {
        return Ok(None);
    };
    let server = builder.start().await?;
    let case_database = CaseDatabase::on(&server, hint).await?;
    Ok(Some((server, case_database)))
}

/// 19: the server is restarted while the pool is idle, cleanly and by a crash. The next queries work, on new connections.
pub async fn while_idle<S: Subject>() -> anyhow::Result<()> {
    let Some((mut server, case_database)) = own_server::<S::Db>("idle").await? else {
        return Ok(());
    };
    // Every connection is idle longer than this during the restart; the loop below ensures it.
    let validate_after = Duration::from_millis(20);
    let options = Options {
        validate_after,
        ..Options::new(case_database.url())
    };
    let max_size = options.max_size as usize;
    let pool = S::start(options).await?;
    for stop in [Stop::Orderly, Stop::Crash] {
        all_slots(&pool, max_size, &case_database).await?;
        let idle_since = Instant::now();
        server.restart(stop).await?;
        tokio::time::sleep_until(idle_since + validate_after).await;

        let queries = (0..4 * max_size).map(|_| pool.execute("SELECT 1"));
        bounded("the queries", try_join_all(queries))
            .await?
            .with_context(|| format!("after {stop:?}"))?;
        all_slots(&pool, max_size, &case_database).await?;
    }
    bounded("the close", pool.close()).await?;
    case_database.no_session_left().await
}

/// 20: the server is restarted while queries run. They fail, and the pool recovers all its slots, with new connections.
pub async fn in_the_middle_of_queries<S: Subject>() -> anyhow::Result<()> {
    let Some((mut server, case_database)) = own_server::<S::Db>("middle").await? else {
        return Ok(());
    };
    let options = Options::new(case_database.url());
    let max_size = options.max_size as usize;
    let pool = S::start(options).await?;
    let sleep = S::Db::SLEEP.context("nothing runs for long here")?;
    for stop in [Stop::Orderly, Stop::Crash] {
        all_slots(&pool, max_size, &case_database).await?;
        let queries = (1..max_size).map(|_| tokio::spawn(pool.execute(sleep)));
        let queries: Vec<_> = queries.collect();
        case_database
            .database()?
            .sessions_become("all queries run", |sessions| {
                let active = sessions.iter().filter(|session| session.state == "active");
                active.count() == max_size - 1
            })
            .await?;
        server.restart(stop).await?;

        for result in bounded("the queries", join_all(queries)).await? {
            ensure!(result?.is_err(), "a query has survived {stop:?}");
        }
        // The idle connection's failure is not detected yet, so the next query on it may fail, and no other.
        bounded("the recovery", async {
            while pool.execute("SELECT 1").await.is_err() {}
        })
        .await?;
        all_slots(&pool, max_size, &case_database).await?;
    }
    bounded("the close", pool.close()).await?;
    case_database.no_session_left().await
}

/// Checks that all slots have a working connection at the same time. After a restart these can only be new ones.
async fn all_slots<S: Subject>(
    pool: &S,
    max_size: usize,
    case_database: &CaseDatabase,
) -> anyhow::Result<()> {
    let checkouts = try_join_all((0..max_size).map(|_| pool.acquire()));
    let mut checkouts = bounded("all places", checkouts).await??;
    for checkout in &mut checkouts {
        S::Db::run(checkout.as_mut(), "SELECT 1").await?;
    }
    let sessions = case_database.sessions().await?;
    ensure!(sessions == Some(max_size), "{sessions:?} sessions");
    Ok(())
}
