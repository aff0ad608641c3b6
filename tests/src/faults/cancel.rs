//! Futures dropped at each of their await points.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use futures_util::{StreamExt, stream};
use sqlx::Connection;

use super::{bounded, case_database, start::allow};
use crate::{CaseDatabase, Kind, Options, Proxy, Sql, Subject, sql::in_transaction, steps::up_to};

/// 14: `begin()` is cancelled at every await point. No checkout is inside a transaction.
pub async fn begin<S: Subject>() -> anyhow::Result<()> {
    at_every_await_point::<S, _>("begin", async |pool| pool.begin().await.map(drop)).await
}

/// 14, further: a transaction with a nested one is cancelled at every await point, from its begin to its commit.
pub async fn transaction<S: Subject>() -> anyhow::Result<()> {
    at_every_await_point::<S, _>("transaction", async |pool| {
        let mut transaction = pool.begin().await?;
        S::Db::run(transaction.as_mut(), "INSERT INTO entry VALUES (1)").await?;
        let mut nested = S::Db::begin(transaction.as_mut()).await?;
        S::Db::run(&mut nested, "INSERT INTO entry VALUES (2)").await?;
        nested.commit().await?;
        S::commit(transaction).await
    })
    .await
}

/// 14, further: the same with a `BEGIN` that the driver does not recognize.
pub async fn plain_begin<S: Subject>() -> anyhow::Result<()> {
    at_every_await_point::<S, _>("plain", async |pool| {
        pool.execute("BEGIN; INSERT INTO entry VALUES (1)").await
    })
    .await
}

/// Runs `work` repeatedly, each time dropped at a later await point. After each run, the one connection is outside any
/// transaction, and all or nothing was committed: an even number of entries.
async fn at_every_await_point<S, F>(hint: &str, work: F) -> anyhow::Result<()>
where
    S: Subject,
    F: AsyncFn(S) -> sqlx::Result<()>,
{
    let Some(case_database) = CaseDatabase::of::<S::Db>(hint).await? else {
        return Ok(());
    };
    for through_network in [false, true] {
        // Through a slow network every answer is awaited. Without it, some answers are there at once.
        let proxy = match &case_database {
            CaseDatabase::Server(database) if through_network => {
                Some(Proxy::before(database.address()?)?)
            }
            _ => None,
        };
        let url = match (&case_database, &proxy) {
            (CaseDatabase::Server(database), Some(proxy)) => {
                proxy.delay(Duration::from_millis(1));
                database.url_through(proxy.address())
            }
            _ => case_database.url(),
        };
        let pool = S::start(Options {
            max_size: 1,
            ..Options::new(url)
        })
        .await?;
        pool.execute("CREATE TABLE IF NOT EXISTS entry (id INTEGER)")
            .await?;
        let mut cancelled = 0;
        // Several times each, because the await points depend on the network and on the scheduler.
        for pending in (0..16).flat_map(|pending| [pending; 4]) {
            let result = bounded("the work", up_to(pending, work(pool.clone()))).await?;
            cancelled += usize::from(result.is_none());
            result
                .transpose()
                .with_context(|| format!("after {pending} waits"))?;
            bounded("the check", outside_any_transaction(&pool))
                .await?
                .with_context(|| format!("cancelled after {pending} waits"))?;
        }
        ensure!(cancelled > 0 || proxy.is_none(), "it never waited");
        if let CaseDatabase::Server(database) = &case_database {
            let idle = database.idle_in_transaction().await?;
            ensure!(idle == 0, "{idle} sessions are idle in a transaction");
        }
        let ended = bounded("the close", pool.close()).await?;
        ensure!(ended.is_empty(), "{ended:?}");
        if S::OURS {
            case_database.closed_in_good_order().await?;
        } else {
            // sqlx drops a connection whose opening is cancelled.
            case_database.no_session_left().await?;
        }
    }
    Ok(())
}

async fn outside_any_transaction<S: Subject>(pool: &S) -> anyhow::Result<()> {
    let mut checkout = pool.acquire().await?;
    ensure!(
        !in_transaction::<S::Db>(checkout.as_mut()).await?,
        "a checkout is inside a transaction"
    );
    drop(checkout);
    let odd = pool.number("SELECT count(*) % 2 FROM entry").await?;
    ensure!(odd == 0, "half of a transaction was committed");
    Ok(())
}

/// 16: `acquire()` is cancelled at every await point, ten thousand times. Afterwards every slot is free, and there are never more
/// sessions than `max_size`.
pub async fn acquire<S: Subject>() -> anyhow::Result<()> {
    const ROUNDS: usize = 10_000;
    const MAX_SIZE: u32 = 4;
    let case_database = Arc::new(case_database!(S, "acquire"));
    let options = Options::new(case_database.url());
    let pool = S::start(Options {
        max_size: MAX_SIZE,
        // Every checkout validates its connection, so that every `acquire()` waits.
        validate_after: Duration::ZERO,
        ..options
    })
    .await?;

    let over = Arc::new(AtomicBool::new(false));
    let watch = never_above(
        Arc::clone(&case_database),
        MAX_SIZE as usize,
        Arc::clone(&over),
    );
    let watch = tokio::spawn(watch);
    stream::iter(0..ROUNDS)
        .for_each_concurrent(3 * MAX_SIZE as usize, |round| {
            let pool = pool.clone();
            async move {
                let acquired = up_to(round % 8, pool.acquire()).await;
                if let (Some(Ok(mut checkout)), true, Some(end)) =
                    (acquired, round % 50 == 0, S::Db::END_SESSION)
                {
                    // The slot needs a new connection.
                    let _ = S::Db::run(checkout.as_mut(), end).await;
                }
            }
        })
        .await;
    over.store(true, Relaxed);
    let seen = watch.await??;

    // All slots at the same time.
    let mut checkouts = Vec::new();
    for _ in 0..MAX_SIZE {
        let mut checkout = bounded("recovering a place", pool.acquire()).await??;
        S::Db::run(checkout.as_mut(), "SELECT 1").await?;
        checkouts.push(checkout);
    }
    let one_more = up_to(1, pool.acquire()).await;
    ensure!(one_more.is_none(), "there is a place too many");
    drop(checkouts);
    let ended = bounded("the close", pool.close()).await?;
    ensure!(ended.is_empty(), "{ended:?}");
    ensure!(
        case_database.database().is_err() || seen > 10,
        "watched {seen} times only"
    );
    Ok(())
}

/// Counts the sessions on the server until `over` is set, and returns the number of counts.
///
/// The server lists a closed session until its process is gone. So only several counts above the limit in a row are an error.
pub(super) async fn never_above(
    case_database: Arc<CaseDatabase>,
    limit: usize,
    over: Arc<AtomicBool>,
) -> anyhow::Result<usize> {
    let (mut counts, mut above) = (0, 0);
    while !over.load(Relaxed) {
        let sessions = case_database.sessions().await?.unwrap_or_default();
        above = if sessions > limit { above + 1 } else { 0 };
        ensure!(above < 10, "{sessions} sessions, and {limit} are allowed");
        counts += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(counts)
}

/// 43: every connection's query is cancelled behind a table lock. There is never more than one further session, and the pool
/// serves other queries during the lock.
pub async fn behind_a_lock<S: Subject>() -> anyhow::Result<()> {
    locked_out::<S>(false).await
}

/// 43, further: the server allows no further session.
pub async fn behind_a_lock_without_room<S: Subject>() -> anyhow::Result<()> {
    locked_out::<S>(true).await
}

async fn locked_out<S: Subject>(without_room: bool) -> anyhow::Result<()> {
    const MAX_SIZE: u32 = 20;
    let case_database = Arc::new(case_database!(S, "locked"));
    let database = case_database.database()?;
    case_database
        .run::<S::Db>("CREATE TABLE entry (id INTEGER)")
        .await?;
    // The superuser's session is not counted.
    let mut url = url::Url::parse(&database.server().url)?;
    url.set_path(database.name());
    let mut locker = <S::Db as sqlx::Database>::Connection::connect(url.as_str()).await?;
    let (lock, unlock) = match database.kind() {
        Kind::Postgres => ("BEGIN; LOCK TABLE entry IN ACCESS EXCLUSIVE MODE", "COMMIT"),
        Kind::MariaDb => ("LOCK TABLES entry WRITE", "UNLOCK TABLES"),
    };
    if without_room {
        allow(database, MAX_SIZE).await?;
    }
    let pool = S::start(Options {
        max_size: MAX_SIZE,
        acquire_timeout: Duration::from_secs(15),
        ..Options::new(case_database.url())
    })
    .await?;
    S::Db::run(&mut locker, lock).await?;
    let over = Arc::new(AtomicBool::new(false));
    let watch = tokio::spawn(never_above(
        Arc::clone(&case_database),
        MAX_SIZE as usize + 1,
        Arc::clone(&over),
    ));

    let behind: Vec<_> = (0..MAX_SIZE)
        .map(|_| tokio::spawn(pool.execute("SELECT id FROM entry")))
        .collect();
    let all_wait = |sessions: &[crate::Session]| {
        let waiting = |session: &&crate::Session| session.statement.contains("FROM entry");
        sessions.iter().filter(waiting).count() == MAX_SIZE as usize
    };
    database
        .sessions_become("all wait for the lock", all_wait)
        .await?;
    for query in &behind {
        query.abort();
    }
    // The lock is still held.
    for _ in 0..10 {
        bounded("a query beside the lock", pool.execute("SELECT 1")).await??;
    }
    S::Db::run(&mut locker, unlock).await?;
    locker.close().await?;
    let all = futures_util::future::try_join_all((0..MAX_SIZE).map(|_| pool.acquire()));
    drop(bounded("all checkouts", all).await??);
    over.store(true, Relaxed);
    watch.await??;
    let ended = bounded("the close", pool.close()).await?;
    ensure!(ended.is_empty(), "{ended:?}");
    case_database.no_session_left().await
}
