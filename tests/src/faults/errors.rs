//! Errors of the client that say nothing about the connection.

use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::{StreamExt, future::try_join_all};
use poolhouse::{Engine, Settings, engine_finder_with};

use super::{bounded, case_database};
use crate::{CaseDatabase, Kind, Options, Sql, Subject};

/// 42: an error of the client alone: too many values for the protocol, or a row that cannot be decoded. The connection stays
/// usable, and no session is closed.
pub async fn of_the_client_alone<S: Subject>() -> anyhow::Result<()> {
    const MAX_SIZE: u32 = 3;
    let case_database = case_database!(S, "client");
    let pool = S::start(Options {
        max_size: MAX_SIZE,
        ..Options::new(case_database.url())
    })
    .await?;
    let before = sessions(&pool, &case_database, MAX_SIZE).await?;
    for _ in 0..MAX_SIZE {
        let error = bounded("too many values", pool.too_many_values()).await?;
        error.err().context("so many values were taken")?;
        let error = bounded("a row", pool.number("SELECT 'no number'")).await?;
        error.err().context("it was decoded")?;
        bounded("the next query", pool.execute("SELECT 1")).await??;
    }
    let after = sessions(&pool, &case_database, MAX_SIZE).await?;
    // sqlx's driver of MySQL waits forever for an answer after such an error, so the pool closes that session.
    let may_change = S::Db::SERVER == Some(Kind::MariaDb);
    ensure!(may_change || before == after, "{before:?} became {after:?}");
    let ended = bounded("the close", pool.close()).await?;
    ensure!(ended.is_empty(), "{ended:?}");
    case_database.closed_in_good_order().await
}

/// Opens all sessions that the pool may have, and returns their ids.
async fn sessions<S: Subject>(
    pool: &S,
    case_database: &CaseDatabase,
    max_size: u32,
) -> anyhow::Result<Vec<i64>> {
    let checkouts = try_join_all((0..max_size).map(|_| pool.acquire()));
    let mut checkouts = bounded("all checkouts", checkouts).await??;
    for checkout in &mut checkouts {
        bounded("a query", S::Db::run(checkout.as_mut(), "SELECT 1")).await??;
    }
    let sessions = case_database
        .database()?
        .sessions_become("all are open", |open| open.len() == checkouts.len())
        .await?;
    Ok(sessions.iter().map(|session| session.id).collect())
}

/// 45: a session without a statement cache. The driver of Postgres never closes a statement that it does not cache, so the server
/// would hold more of them with every query.
pub async fn without_a_statement_cache<S: Subject>() -> anyhow::Result<()> {
    let case_database = case_database!(S, "statements");
    let url = format!("{}?statement-cache-capacity=0", case_database.url());
    let pool = S::start(Options {
        max_size: 1,
        ..Options::new(url)
    })
    .await?;
    let mut checkout = pool.acquire().await?;
    for number in 0..200 {
        let mut rows = S::Db::read(checkout.as_mut(), &format!("SELECT {number}"));
        while let Some(row) = rows.next().await {
            row?;
        }
    }
    let left = match S::Db::SERVER.context("this case needs a server")? {
        Kind::Postgres => "SELECT count(*) FROM pg_prepared_statements",
        Kind::MariaDb => {
            "SELECT CAST(SUM(IF(VARIABLE_NAME = 'COM_STMT_PREPARE', 1, -1) * VARIABLE_VALUE) AS SIGNED) \
             FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME IN ('COM_STMT_PREPARE', 'COM_STMT_CLOSE')"
        }
    };
    let left = S::Db::answer(checkout.as_mut(), left).await?;
    ensure!(left <= 1, "{left} statements are left in the session");
    drop(checkout);
    let ended = bounded("the close", pool.close()).await?;
    ensure!(ended.is_empty(), "{ended:?}");
    case_database.closed_in_good_order().await
}

/// 42, further: the other connections are not suspected, and the reader stays the same node.
pub async fn of_the_client_alone_on_a_node<S: Subject>() -> anyhow::Result<()> {
    let case_database = case_database!(S, "client");
    let settings = || {
        Settings::new()
            .url(case_database.url())
            .max_size(3)
            .validate_after(Duration::from_hours(1))
    };
    let settings = settings().engine("client").node("replica", settings());
    let engine: Engine<S::Db> = engine_finder_with(&settings)?;
    engine.start_connection_pool().await?;
    let reader = engine.reader();
    ensure!(reader.name() != engine.name(), "no node is there");
    // All of them open, so that there are connections to suspect.
    drop(try_join_all((0..3).map(|_| reader.acquire())).await?);
    let before = reader.status();
    ensure!(before.size == 3, "{before}");
    for round in 0..3 {
        let too_many = S::Db::too_many_values_on(reader.clone());
        let error = bounded("too many values", too_many).await?;
        error.err().context("so many values were taken")?;
        let undecodable = S::Db::answer_on(reader.clone(), "SELECT 'no number'");
        let error = bounded("a row", undecodable).await?;
        error.err().context("it was decoded")?;
        ensure!(
            engine.reader().name() == reader.name(),
            "the reader was left in round {round}"
        );
        let mut checkouts =
            bounded("all", try_join_all((0..3).map(|_| reader.acquire()))).await??;
        for checkout in &mut checkouts {
            S::Db::run(checkout.as_mut(), "SELECT 1").await?;
        }
    }
    let after = reader.status();
    // sqlx's driver of MySQL waits forever for an answer after such an error, so the pool closes that session.
    let closed = if S::Db::PRODUCT == "MariaDB" { 3 } else { 0 };
    ensure!(
        after.opened == before.opened + closed && after.broken == 0,
        "{after:?} after {before:?}"
    );
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}
