//! The work of the pool's keeper: `idle_timeout`, `max_lifetime`, `min_size`. Its rounds are half a second apart.

use std::collections::HashSet;

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use poolhouse::{Engine, Settings};
use poolhouse_tests::{
    CaseDatabase, Sql, Subject, TestDatabase, eventually,
    steps::up_to,
    subject::{EngineOnSqlx, Options, Own},
};

use super::{settings, started};
use crate::table::case_databases;

case_databases! {
    idle_timeout_closes_all_but_min_size: idle_timeout, on (postgres, mariadb);
    max_lifetime_replaces_an_idle_connection: max_lifetime, on (postgres, mariadb);
    max_lifetime_replaces_a_connection_at_its_return: max_lifetime_in_use, on (postgres, mariadb);
    min_size_is_filled_up_again: min_size, on (postgres, mariadb);
    min_size_is_filled_up_when_the_server_is_back: min_size_without_server, on (postgres, mariadb);
    memory_keeps_its_data: in_memory, on (sqlite);
    memory_keeps_its_data_on_a_sqlx_pool: in_memory_on_sqlx, on (sqlite);
}

fn ids(sessions: &[poolhouse_tests::Session]) -> HashSet<i64> {
    sessions.iter().map(|session| session.id).collect()
}

/// Opens this many connections, and returns them.
async fn open<DB: Sql>(engine: &Engine<DB>, number: usize) -> anyhow::Result<()> {
    try_join_all((0..number).map(|_| engine.acquire())).await?;
    Ok(())
}

async fn number_becomes(database: &TestDatabase, number: usize) -> anyhow::Result<HashSet<i64>> {
    let what = format!("{number} sessions");
    let sessions = database.sessions_become(&what, |sessions| sessions.len() == number);
    Ok(ids(&sessions.await?))
}

/// Terminates sessions on the server.
async fn end(
    database: &TestDatabase,
    sessions: impl IntoIterator<Item = i64>,
) -> anyhow::Result<()> {
    for session in sessions {
        let end = match database.kind() {
            poolhouse_tests::Kind::Postgres => format!("SELECT pg_terminate_backend({session})"),
            poolhouse_tests::Kind::MariaDb => format!("KILL CONNECTION {session}"),
        };
        database.server().ask(&[end]).await?;
    }
    Ok(())
}

async fn idle_timeout<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let database = case_database.database()?;
    let settings = settings(&case_database)
        .max_size(5)
        .min_size(2)
        .idle_timeout("300ms");
    let engine: Engine<DB> = started(&settings).await?;
    let held = try_join_all((0..5).map(|_| engine.acquire())).await?;
    number_becomes(database, 5).await?;
    drop(held);
    number_becomes(database, 2).await?;
    // The sessions end on the server before the pool counts their closes.
    eventually("the pool counts two as well", async || {
        let status = engine.status();
        ensure!(status.closed_idle == 3 && status.size == 2, "{status:?}");
        Ok(())
    })
    .await?;
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}

async fn max_lifetime<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let database = case_database.database()?;
    let settings = settings(&case_database).min_size(2).max_lifetime("600ms");
    let engine: Engine<DB> = started(&settings).await?;
    let before = number_becomes(database, 2).await?;
    database
        .sessions_become("two others", |sessions| {
            sessions.len() == 2 && ids(sessions).is_disjoint(&before)
        })
        .await?;
    ensure!(
        engine.status().closed_lifetime >= 2,
        "{:?}",
        engine.status()
    );
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}

async fn max_lifetime_in_use<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let database = case_database.database()?;
    let settings = settings(&case_database).max_size(1).max_lifetime("200ms");
    let engine: Engine<DB> = started(&settings).await?;
    let mut held = engine.acquire().await?;
    let before = number_becomes(database, 1).await?;
    // This takes two rounds of the keeper at least.
    DB::run(
        &mut held,
        if DB::PRODUCT == "MariaDB" {
            "SELECT SLEEP(1.2)"
        } else {
            "SELECT pg_sleep(1.2)"
        },
    )
    .await?;
    DB::run(&mut held, "SELECT 1").await?;
    ensure!(
        number_becomes(database, 1).await? == before,
        "it was cut off"
    );
    drop(held);
    // Held, because the keeper closes it after its lifetime too.
    let mut next = engine.acquire().await?;
    DB::run(&mut next, "SELECT 1").await?;
    let after = number_becomes(database, 1).await?;
    drop(next);
    ensure!(after.is_disjoint(&before), "it was kept");
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}

async fn min_size<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let database = case_database.database()?;
    // With more slots, an acquire would open a connection while another one is still validated. The idle timeout sets the
    // keeper's interval.
    let settings = settings(&case_database)
        .max_size(3)
        .min_size(3)
        .idle_timeout("1s")
        .validate_after("0s");
    let engine: Engine<DB> = started(&settings).await?;
    let mut sessions = Vec::from_iter(number_becomes(database, 3).await?);
    // All but one are lost; the pool notices when it validates them for an acquire.
    let kept = sessions.pop();
    end(database, sessions).await?;
    number_becomes(database, 1).await?;
    eventually("they are found broken", async || {
        // A statement on each, so that each broken one is replaced or discarded.
        let mut checkouts = try_join_all((0..3).map(|_| engine.acquire())).await?;
        for checkout in &mut checkouts {
            DB::run(checkout, "SELECT 1").await?;
        }
        Ok(())
    })
    .await?;
    let after = number_becomes(database, 3).await?;
    ensure!(
        kept.is_some_and(|kept| after.contains(&kept)),
        "the good one is gone"
    );

    // Broken in use: their slots are empty until the keeper's round, although one connection is idle.
    let mut checkouts = try_join_all((0..2).map(|_| engine.acquire())).await?;
    for checkout in &mut checkouts {
        let session = DB::answer(checkout, DB::SESSION.unwrap_or_default()).await?;
        end(database, [session]).await?;
        let gone = |now: &[poolhouse_tests::Session]| !ids(now).contains(&session);
        database.sessions_become("it is ended", gone).await?;
        ensure!(DB::run(checkout, "SELECT 1").await.is_err(), "it goes on");
    }
    drop(checkouts);
    let replaced = database.sessions_become("two new sessions beside an old one", |now| {
        let now = ids(now);
        now.len() == 3 && now.intersection(&after).count() == 1
    });
    replaced
        .await
        .with_context(|| format!("{after:?} before, {:?}", engine.status()))?;
    engine.close_connection_pool().await;
    case_database.no_session_left().await
}

async fn min_size_without_server<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let database = case_database.database()?;
    let proxy = poolhouse_tests::Proxy::before(database.address()?)?;
    let settings = settings(&case_database)
        .url(database.url_through(proxy.address()))
        .min_size(2)
        .max_lifetime("400ms");
    let engine: Engine<DB> = started(&settings).await?;
    number_becomes(database, 2).await?;
    proxy.refuse();
    number_becomes(database, 0).await?;
    proxy.pass();
    number_becomes(database, 2).await?;
    engine.close_connection_pool().await;
    Ok(())
}

async fn in_memory<DB: Sql>(_: CaseDatabase) -> anyhow::Result<()> {
    // A shared cache belongs to the process, in which this case runs twice.
    let name = format!("{:?}", std::thread::current().id()).replace(['(', ')'], "_");
    let shared = format!("sqlite:file:kept_{name}?mode=memory&cache=shared");
    for url in ["sqlite::memory:", &shared] {
        let settings = Settings::new()
            .engine("memory")
            .url(url)
            .max_size(3)
            .idle_timeout("200ms")
            .max_lifetime("200ms");
        let engine: Engine<DB> = started(&settings).await?;
        let db = Own(engine.clone());
        db.execute("CREATE TABLE entry (id INTEGER); INSERT INTO entry VALUES (7)")
            .await?;
        open(&engine, 3).await?;
        // Every connection sees the same data, and two rounds of the keeper change nothing.
        tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
        let mut checkouts = try_join_all((0..3).map(|_| engine.acquire())).await?;
        for checkout in &mut checkouts {
            ensure!(
                DB::answer(checkout, "SELECT id FROM entry").await? == 7,
                "{url}"
            );
        }
        drop(checkouts);
        engine.evict();
        ensure!(db.number("SELECT id FROM entry").await? == 7, "{url}");
        engine.close_connection_pool().await;
    }
    Ok(())
}

/// sqlx's pool closes the connection of a cancelled `BEGIN`, and a retired one, even if it is the only one.
async fn in_memory_on_sqlx<DB: Sql>(_: CaseDatabase) -> anyhow::Result<()> {
    let options = Options {
        max_size: 1,
        ..Options::new("sqlite::memory:")
    };
    let db = EngineOnSqlx::<DB>::start(options).await?;
    db.execute("CREATE TABLE entry (id INTEGER); INSERT INTO entry VALUES (7)")
        .await?;
    let mut cancelled = 0;
    for pending in [1, 2, 3, 4].repeat(8) {
        let begun = up_to(pending, db.begin()).await.transpose()?;
        cancelled += usize::from(begun.is_none());
        drop(begun);
        ensure!(db.number("SELECT id FROM entry").await? == 7);
    }
    ensure!(cancelled > 0, "it never waited");
    db.engine().context("it has one")?.evict();
    ensure!(db.number("SELECT id FROM entry").await? == 7);
    db.close().await;
    Ok(())
}
