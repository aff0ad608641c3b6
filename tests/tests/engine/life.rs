//! A started engine: its status, its size, its errors and its connections.

use std::{collections::HashSet, num::NonZeroU32, time::Duration};

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use poolhouse::{AcquireError, AcquireKind, Engine, Settings};
use poolhouse_tests::{
    CaseDatabase, Heard, Options, Sql, Subject, eventually,
    steps::up_to,
    subject::{OnSqlx, Own},
};

use super::{settings, started};
use crate::table::case_databases;

case_databases! {
    status_counts: status, on (postgres, mariadb, sqlite);
    health_and_server_tell_who_answers: health, on (postgres, mariadb, sqlite);
    resize_down_and_up: resize, on (postgres, mariadb, sqlite);
    evict_replaces_every_connection: evict, on (postgres, mariadb);
    a_checkout_that_is_held_for_long_is_warned_about: leak_after, on (postgres, mariadb, sqlite);
    a_wait_that_ends_says_who_has_the_connections: acquire_timeout, on (postgres, mariadb, sqlite);
    a_wait_that_ends_without_a_server_says_so: no_server, on (postgres, mariadb);
    a_session_that_the_server_has_ended_is_noticed: validate_after, on (postgres, mariadb);
    one_broken_connection_makes_the_others_suspect: suspects, on (postgres, mariadb);
    a_close_leaves_nothing_beside_the_file: beside_the_file, on (sqlite);
    a_dropped_transaction_on_a_sqlx_pool_is_rolled_back: on_sqlx, on (postgres, mariadb, sqlite);
}

async fn status<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let engine: Engine<DB> = started(&settings(&case_database).max_size(2).min_size(1)).await?;
    let shown = |what: &str| {
        let status = engine.status();
        ensure!(status.to_string() == what, "{status} instead of {what}");
        Ok(status)
    };
    let opened = shown("0 in use, 1 idle, 0 waiting, at most 2")?;
    ensure!(opened.size == 1 && opened.opened == 1, "{opened:?}");
    let (first, second) = (engine.acquire().await?, engine.acquire().await?);
    shown("2 in use, 0 idle, 0 waiting, at most 2")?;
    let mut third = Box::pin(engine.acquire());
    ensure!(up_to(1, &mut third).await.is_none());
    shown("2 in use, 0 idle, 1 waiting, at most 2")?;
    drop((third, first));
    shown("1 in use, 1 idle, 0 waiting, at most 2")?;
    drop(second);
    let after = shown("0 in use, 2 idle, 0 waiting, at most 2")?;
    let counted = (
        after.opened,
        after.acquired - opened.acquired,
        after.cancelled,
    );
    ensure!(counted == (2, 2, 1), "{after:?}");
    // The second was opened for its caller, and the third waited.
    ensure!(
        after.acquired_empty - opened.acquired_empty == 2,
        "{after:?}"
    );
    ensure!(after.timed_out == 0 && after.broken == 0, "{after:?}");
    engine.close_connection_pool().await;
    Ok(())
}

async fn health<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let engine: Engine<DB> = started(&settings(&case_database)).await?;
    let health = engine.health().await?;
    ensure!(
        health.status.size == 1 && health.status.idle == 1,
        "{health:?}"
    );
    ensure!(!health.latency.is_zero(), "{health:?}");
    let server = engine.server().context("no server")?;
    let kind = if DB::PRODUCT == "MariaDB" {
        "MySQL"
    } else {
        DB::PRODUCT
    };
    ensure!(server.kind == kind, "{server:?}");
    ensure!(
        server.version.starts_with(|c: char| c.is_ascii_digit()),
        "{server:?}"
    );
    engine.close_connection_pool().await;
    let error = engine.health().await.err().context("it is healthy")?;
    ensure!(error.to_string().contains("its pool is closed"), "{error}");
    ensure!(engine.server().is_none());
    Ok(())
}

fn slots(number: u32) -> anyhow::Result<NonZeroU32> {
    NonZeroU32::new(number).context("zero")
}

/// Fails unless exactly `number` checkouts are possible at the same time.
async fn has_slots<DB: Sql>(engine: &Engine<DB>, number: u32) -> anyhow::Result<()> {
    let checkouts = try_join_all((0..number).map(|_| engine.acquire())).await?;
    ensure!(
        up_to(1, engine.acquire()).await.is_none(),
        "more than {number}"
    );
    drop(checkouts);
    Ok(())
}

async fn resize<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let engine: Engine<DB> = started(&settings(&case_database).max_size(6)).await?;
    // Down, with one connection open, and unused slots.
    engine.resize(slots(4)?)?;
    has_slots(&engine, 4).await?;
    // Down, with all of them idle; the surplus is closed.
    engine.resize(slots(2)?)?;
    has_slots(&engine, 2).await?;
    eventually("the surplus is closed", async || {
        let (size, sessions) = (
            engine.status().size,
            case_database.sessions().await?.unwrap_or(2),
        );
        ensure!(
            (size, sessions) == (2, 2),
            "{size} open, {sessions} sessions"
        );
        Ok(())
    })
    .await?;
    // Down, with all of them in use; the surplus is closed when it comes back.
    let checkouts = try_join_all((0..2).map(|_| engine.acquire())).await?;
    engine.resize(slots(1)?)?;
    ensure!(engine.status().size == 2);
    drop(checkouts);
    has_slots(&engine, 1).await?;
    // Up.
    engine.resize(slots(3)?)?;
    has_slots(&engine, 3).await?;
    ensure!(engine.status().max == 3, "{}", engine.status());
    let report = engine.close_connection_pool().await;
    ensure!(report.is_clean(), "{report}");
    case_database.closed_in_good_order().await
}

/// The sessions of all slots.
async fn sessions<DB: Sql>(engine: &Engine<DB>, slots: usize) -> anyhow::Result<HashSet<i64>> {
    let query = DB::SESSION.context("no sessions")?;
    let mut sessions = HashSet::new();
    for checkout in &mut try_join_all((0..slots).map(|_| engine.acquire())).await? {
        sessions.insert(DB::answer(checkout, query).await?);
    }
    Ok(sessions)
}

async fn evict<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let engine: Engine<DB> = started(&settings(&case_database).max_size(3)).await?;
    let before = sessions(&engine, 3).await?;
    let mut held = engine.acquire().await?;
    engine.evict();
    // Idle connections close now, and the one in use keeps working.
    let database = case_database.database()?;
    database
        .sessions_become("one is left", |left| left.len() == 1)
        .await?;
    DB::run(&mut held, "SELECT 1").await?;
    drop(held);
    case_database.no_session_left().await?;
    let after = sessions(&engine, 3).await?;
    ensure!(before.is_disjoint(&after), "{before:?}, then {after:?}");
    ensure!(
        engine.status().closed_lifetime == 3,
        "{:?}",
        engine.status()
    );
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}

async fn leak_after<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    // On a multi-thread runtime, the pool's task may log on a thread without this test's subscriber.
    if tokio::runtime::Handle::current().metrics().num_workers() > 1 {
        return Ok(());
    }
    let heard = Heard::here();
    let engine: Engine<DB> = started(&settings(&case_database).leak_after("100ms")).await?;
    let (acquired, line) = (engine.acquire(), line!());
    let held = acquired.await?;
    let warning = heard.line("has been held for").await?;
    for words in [
        "WARN",
        &format!(
            "the checkout taken at {}:{line} has been held for ",
            file!()
        ),
        "leak_after = 100ms (builder, ",
        "Drop it sooner, or raise leak_after",
    ] {
        ensure!(warning.contains(words), "{words:?} is not in {warning}");
    }
    // One warning for each checkout. The keeper's next round is over when it has warned about the next checkout.
    drop(held);
    let held = engine.acquire().await?;
    eventually("a second warning", async || {
        let warnings = heard.lines("has been held for");
        ensure!(warnings.len() == 2, "{warnings:?}");
        Ok(())
    })
    .await?;
    drop(held);
    engine.close_connection_pool().await;
    Ok(())
}

async fn acquire_timeout<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let settings = settings(&case_database)
        .max_size(2)
        .min_size(2)
        .acquire_timeout("500ms");
    let engine: Engine<DB> = started(&settings).await?;
    let (acquired, line) = (engine.acquire(), line!());
    let held = (acquired.await?, engine.begin().await?);
    let error = engine.acquire().await.err().context("no error")?;
    let said = error.to_string();
    for words in [
        "engine `engine_test`: no connection became free in time (acquire_timeout = 500ms (builder, ",
        "): 2 in use, 0 idle, 1 waiting, at most 2; held longest: ",
        &format!("the checkout taken at {}:{line}, for ", file!()),
        ". Return connections sooner, or raise max_size = 2 (builder, ",
    ] {
        ensure!(said.contains(words), "{words:?} is not in {said}");
    }
    let kind = AcquireError::find(&error).map(AcquireError::kind);
    ensure!(kind == Some(AcquireKind::TimedOut), "{kind:?}");
    ensure!(engine.status().timed_out == 1, "{:?}", engine.status());
    drop(held);
    drop(engine.acquire().await?);
    engine.close_connection_pool().await;
    Ok(())
}

async fn no_server<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let database = case_database.database()?;
    let proxy = poolhouse_tests::Proxy::before(database.address()?)?;
    let settings = settings(&case_database)
        .url(database.url_through(proxy.address()))
        .acquire_timeout("2s");
    let engine: Engine<DB> = started(&settings).await?;
    proxy.refuse();
    proxy.reset();
    proxy.open_become(0).await?;
    // The statement that finds the broken connection may fail.
    let _ = Own(engine.clone()).execute("SELECT 1").await;
    let error = engine.acquire().await.err().context("no error")?;
    let said = error.to_string();
    for words in [
        "engine `engine_test`: no connection could be opened: the server refused the connection. ",
        "Start the server, or correct host and port of the url. url = ",
        ":***@127.0.0.1:",
    ] {
        ensure!(said.contains(words), "{words:?} is not in {said}");
    }
    let kind = AcquireError::find(&error).map(AcquireError::kind);
    ensure!(kind == Some(AcquireKind::Connect), "{kind:?}");
    proxy.pass();
    Own(engine.clone()).execute("SELECT 1").await?;
    engine.close_connection_pool().await;
    Ok(())
}

/// Terminates every session on the server, and waits until none is left.
async fn end_all_sessions(case_database: &CaseDatabase) -> anyhow::Result<()> {
    let database = case_database.database()?;
    for session in database.sessions().await? {
        let end = match database.kind() {
            poolhouse_tests::Kind::Postgres => {
                format!("SELECT pg_terminate_backend({})", session.id)
            }
            poolhouse_tests::Kind::MariaDb => format!("KILL CONNECTION {}", session.id),
        };
        database.server().ask(&[end]).await?;
    }
    database.no_session_left().await
}

async fn validate_after<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let engine: Engine<DB> = started(
        &settings(&case_database)
            .max_size(3)
            .validate_after(Duration::ZERO),
    )
    .await?;
    sessions(&engine, 3).await?;
    end_all_sessions(&case_database).await?;
    let after = sessions(&engine, 3).await?;
    ensure!(after.len() == 3, "{after:?}");
    ensure!(engine.status().broken == 3, "{:?}", engine.status());
    engine.close_connection_pool().await;
    Ok(())
}

async fn suspects<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    // No connection is validated because of its age.
    let engine: Engine<DB> =
        started(&settings(&case_database).max_size(3).validate_after("1h")).await?;
    sessions(&engine, 3).await?;
    end_all_sessions(&case_database).await?;
    let db = Own(engine.clone());
    let first = db.execute("SELECT 1").await;
    ensure!(first.is_err(), "the first one cannot know");
    for _ in 0..6 {
        db.execute("SELECT 1").await?;
    }
    sessions(&engine, 3).await?;
    engine.close_connection_pool().await;
    Ok(())
}

async fn on_sqlx<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let options = Options::new(case_database.url());
    let pool = OnSqlx::<DB>::start(Options {
        max_size: 1,
        ..options
    })
    .await?;
    let engine = pool.engine();
    Own(engine.clone())
        .execute("CREATE TABLE entry (id INTEGER)")
        .await?;
    let mut transaction = engine.begin().await?;
    DB::run(&mut transaction, "INSERT INTO entry VALUES (1)").await?;
    drop(transaction);
    let mut checkout = engine.acquire().await?;
    ensure!(
        !poolhouse_tests::sql::in_transaction::<DB>(&mut checkout).await?,
        "a checkout is inside a transaction"
    );
    drop(checkout);
    ensure!(
        pool.number("SELECT count(*) FROM entry").await? == 0,
        "it was not rolled back"
    );
    pool.close().await;
    case_database.closed_in_good_order().await
}

/// The last connection to a SQLite file writes the log back and removes it, even if all close at once.
async fn beside_the_file<DB: Sql>(_: CaseDatabase) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}/entries.db?mode=rwc", folder.path().display());
    // Two closes at the same moment are rare, so there are many rounds.
    for round in 0..50 {
        let settings = Settings::new()
            .engine("file")
            .url(&url)
            .max_size(8)
            .min_size(8);
        let engine: Engine<DB> = started(&settings).await?;
        Own(engine.clone())
            .execute("CREATE TABLE IF NOT EXISTS entry (id INTEGER); INSERT INTO entry VALUES (7)")
            .await?;
        engine.close_connection_pool().await;
        let left: Vec<_> = std::fs::read_dir(folder.path())?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<Result<_, _>>()?;
        ensure!(left == ["entries.db"], "after {round} rounds: {left:?}");
    }
    Ok(())
}
