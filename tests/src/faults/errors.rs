//! Errors that say nothing of the server.

use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use poolhouse::{Engine, Settings, engine_finder_with};

use super::{bounded, case_database};
use crate::{Sql, Subject};

/// 42: an error of the client alone: more values than the protocol takes, a row that cannot be decoded. No session is
/// closed, no other one is suspected, and a node is not left.
pub async fn of_the_client_alone<S: Subject>() -> anyhow::Result<()> {
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
    // All of them open, so that there is somebody to suspect.
    drop(try_join_all((0..3).map(|_| reader.acquire())).await?);
    let before = reader.status();
    ensure!(before.size == 3, "{before}");
    for round in 0..3 {
        let too_many = S::Db::too_many_values(reader.clone());
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
    // sqlx's driver of MySQL waits for an answer for ever after such an error, so the session that had it is closed.
    let closed = if S::Db::PRODUCT == "MariaDB" { 3 } else { 0 };
    ensure!(
        after.opened == before.opened + closed && after.broken == 0,
        "{after:?} after {before:?}"
    );
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}
