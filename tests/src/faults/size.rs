//! The number of sessions never exceeds the latest `max_size`, however it changes.

use std::num::NonZeroU32;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::future::{join_all, try_join_all};
use poolhouse::{Engine, Readiness, Settings, engine_finder_with};
use sqlx::Connection;

use super::{bounded, cancel::never_above, case_database, start::allow};
use crate::{
    CaseDatabase, Options, Sql, Subject, eventually,
    steps::up_to,
    subject::{ConnectionOf, Own},
};

fn size(number: u32) -> anyhow::Result<NonZeroU32> {
    NonZeroU32::new(number).context("zero")
}

fn engine_of<S: Subject>(pool: &S) -> anyhow::Result<&Engine<S::Db>> {
    pool.engine().context("this pool has no engine")
}

/// Checks that exactly `number` checkouts fit at the same time, and that the server has as many sessions.
async fn has<S: Subject>(
    pool: &S,
    case_database: &CaseDatabase,
    number: usize,
) -> anyhow::Result<()> {
    let checkouts = bounded(
        "all checkouts",
        try_join_all((0..number).map(|_| pool.acquire())),
    )
    .await??;
    let more = up_to(1, pool.acquire()).await;
    ensure!(more.is_none(), "more than {number}");
    if let CaseDatabase::Server(database) = case_database {
        let what = format!("{number} sessions");
        database
            .sessions_become(&what, |sessions| sessions.len() == number)
            .await?;
    }
    drop(checkouts);
    Ok(())
}

/// 31: `resize` down and up while few connections are open, and a hundred times under load.
pub async fn resized_down_and_up<S: Subject>() -> anyhow::Result<()> {
    let case_database = Arc::new(case_database!(S, "resized"));
    let pool = S::start(Options {
        max_size: 10,
        ..Options::new(case_database.url())
    })
    .await?;
    let engine = engine_of(&pool)?;
    // One of ten is open.
    for number in [2, 10, 1, 3] {
        engine.resize(size(number)?)?;
        has(&pool, &case_database, number as usize).await?;
        ensure!(
            engine.status().max == number as usize,
            "{}",
            engine.status()
        );
    }

    engine.resize(size(8)?)?;
    let over = Arc::new(AtomicBool::new(false));
    let watch = tokio::spawn(never_above(
        Arc::clone(&case_database),
        8,
        Arc::clone(&over),
    ));
    let workers = (0..24).map(|_| {
        let (pool, over) = (pool.clone(), Arc::clone(&over));
        tokio::spawn(async move {
            while !over.load(Relaxed) {
                pool.execute("SELECT 1").await?;
            }
            anyhow::Ok(())
        })
    });
    let workers: Vec<_> = workers.collect();
    for round in 0..100 {
        engine.resize(size([4, 8, 1, 7][round % 4])?)?;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    over.store(true, Relaxed);
    for worker in bounded("the workers", join_all(workers)).await? {
        worker??;
    }
    watch.await??;
    engine.resize(size(6)?)?;
    has(&pool, &case_database, 6).await?;
    let ended = bounded("the close", pool.close()).await?;
    ensure!(ended.is_empty(), "{ended:?}");
    case_database.closed_in_good_order().await
}

/// 32: `resize` below `min_size`. The pool does not open and close connections in a loop.
pub async fn resized_below_min_size<S: Subject>() -> anyhow::Result<()> {
    let case_database = case_database!(S, "below");
    // The idle timeout sets the keeper's interval: two rounds a second.
    let settings = Settings::new()
        .engine("below")
        .url(case_database.url())
        .max_size(6)
        .min_size(5)
        .idle_timeout("1s");
    let engine: Engine<S::Db> = engine_finder_with(&settings)?;
    engine.start_connection_pool().await?;
    engine.resize(size(2)?)?;
    eventually("two are left", async || {
        let status = engine.status();
        ensure!(status.size == 2, "{status}");
        Ok(())
    })
    .await?;
    let before = engine.status();
    // Several rounds of the keeper.
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let status = engine.status();
        ensure!(
            status.size <= 2 && status.opened == before.opened,
            "{status:?}"
        );
    }
    let report = engine.close_connection_pool().await;
    ensure!(report.is_clean(), "{report}");
    case_database.closed_in_good_order().await
}

/// 51: `evict` where the server allows exactly `max_size` sessions. No connect is refused.
pub async fn evicted_without_room<S: Subject>() -> anyhow::Result<()> {
    const MAX_SIZE: u32 = 4;
    let case_database = case_database!(S, "evicted");
    let database = case_database.database()?;
    allow(database, MAX_SIZE).await?;
    let pool = S::start(Options {
        max_size: MAX_SIZE,
        acquire_timeout: Duration::from_secs(5),
        ..Options::new(case_database.url())
    })
    .await?;
    let engine = engine_of(&pool)?;
    for round in 0..30 {
        engine.evict();
        // All at once, so that every slot is needed while its old connection closes.
        let queries = (0..2 * MAX_SIZE).map(|_| pool.execute("SELECT 1"));
        bounded("the queries", try_join_all(queries))
            .await?
            .with_context(|| format!("after {round} rounds"))?;
    }
    let status = engine.status();
    ensure!(status.timed_out == 0 && status.broken == 0, "{status:?}");
    let ended = bounded("the close", pool.close()).await?;
    ensure!(ended.is_empty(), "{ended:?}");
    // The server's log names the user, which only this case has. No driver reports when the server has finished a close. On a
    // busy machine one of the 120 may take longer than a slot waits, and the connect is tried again.
    let refused = database
        .server()
        .log()?
        .lines_with(&["too many", database.name()])?;
    ensure!(refused.len() < 6, "{refused:?}");
    case_database.closed_in_good_order().await
}

/// 51, further: the server still ends the retired session and refuses the next one. The pool tries again, and does not report the
/// server as unreachable, with and without `before_connect`.
pub async fn evicted_while_the_session_ends<S: Subject>() -> anyhow::Result<()> {
    in_time(|| the_session_ends_slowly::<S>(|settings| settings)).await?;
    let as_they_are =
        |options: <ConnectionOf<S> as Connection>::Options| async { anyhow::Ok(options) };
    in_time(|| the_session_ends_slowly::<S>(|settings| settings.before_connect(as_they_are))).await
}

/// How long the pool takes refusals for the end of a session that it has closed.
const ROOM_AFTER_CLOSE: Duration = Duration::from_secs(1);

/// Plays a case again until it has reached its check in time, because a busy machine may be slower.
async fn in_time(case: impl AsyncFn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    for _ in 0..20 {
        if case().await? {
            return Ok(());
        }
    }
    anyhow::bail!("the check was never reached within {ROOM_AFTER_CLOSE:?}")
}

/// A locked temporary table keeps the server busy with the session's end. Returns whether the check was reached in time.
async fn the_session_ends_slowly<S: Subject>(
    with: impl FnOnce(Settings) -> Settings,
) -> anyhow::Result<bool> {
    let Some(case_database) = CaseDatabase::of::<S::Db>("lasts").await? else {
        return Ok(true);
    };
    let database = case_database.database()?;
    allow(database, 1).await?;
    // The superuser's session is not counted.
    let mut url = url::Url::parse(&database.server().url)?;
    url.set_path(database.name());
    let mut locker = ConnectionOf::<S>::connect(url.as_str()).await?;
    let options = Options {
        max_size: 1,
        ..Options::new(case_database.url())
    };
    let engine: Engine<S::Db> = engine_finder_with(&with(options.settings()))?;
    engine.start_connection_pool().await?;
    let pool = Own(engine.clone());
    pool.execute("CREATE TEMPORARY TABLE entry (id integer)")
        .await?;
    let schema =
        "SELECT substring(nspname FROM 9)::int8 FROM pg_namespace WHERE oid = pg_my_temp_schema()";
    let schema = pool.number(schema).await?;
    let lock = format!("BEGIN; LOCK TABLE pg_temp_{schema}.entry IN ACCESS SHARE MODE");
    S::Db::run(&mut locker, &lock).await?;

    let evicted = Instant::now();
    engine.evict();
    let query = tokio::spawn(pool.execute("SELECT 1"));
    // The second refusal, so that the pool has received the first.
    eventually("the next session is refused twice", async || {
        let log = database.server().log()?;
        let refused = log.lines_with(&["too many", database.name()])?;
        ensure!(refused.len() > 1, "{refused:?}");
        Ok(())
    })
    .await?;
    let readiness = engine.readiness();
    let in_time = evicted.elapsed() < ROOM_AFTER_CLOSE;
    ensure!(
        !in_time || readiness != Readiness::Unreachable,
        "{readiness:?}"
    );
    S::Db::run(&mut locker, "COMMIT").await?;
    locker.close().await?;
    bounded("the query", query).await???;
    let report = engine.close_connection_pool().await;
    ensure!(report.is_clean(), "{report}");
    case_database.closed_in_good_order().await?;
    Ok(in_time)
}
