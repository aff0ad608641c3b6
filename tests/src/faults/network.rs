//! A network that delays or discards data.

use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::{StreamExt, future::try_join_all};

use super::{SHORT, bounded, case_database};
use crate::{CaseDatabase, Options, Proxy, Sql, Subject, eventually};

/// A proxy in front of the case's server, and options that connect through it.
fn through_proxy(case_database: &CaseDatabase) -> anyhow::Result<(Proxy, Options)> {
    let database = case_database.database()?;
    let proxy = Proxy::before(database.address()?)?;
    let options = Options::new(database.url_through(proxy.address()));
    Ok((proxy, options))
}

/// 18: a handshake is in progress at close. The close is bounded, and the late connection is closed.
pub async fn late_handshake<S: Subject>() -> anyhow::Result<()> {
    let case_database = case_database!(S, "late");
    let (proxy, options) = through_proxy(&case_database)?;
    let pool = S::start(Options {
        // sqlx may still be returning the first connection, and would open a third.
        max_size: 2,
        close_timeout: SHORT,
        ..options
    })
    .await?;
    let held = pool.acquire().await?;
    proxy.stop();
    let late = tokio::spawn(pool.acquire());
    proxy.open_become(2).await?;
    drop(held);

    bounded("the close", pool.close()).await?;
    if S::OURS {
        let late = bounded("telling the late one", late).await??;
        ensure!(late.is_err(), "it got a checkout");
        proxy.pass();
    } else {
        // sqlx's pool lets the task wait, and may even serve it.
        proxy.pass();
        drop(bounded("the late one", late).await??);
    }
    proxy.open_become(0).await?;
    case_database.closed_in_good_order().await
}

/// 21: the peer is black-holed while a connection of unknown state returns. Its slot becomes free.
pub async fn return_into_a_black_hole<S: Subject>() -> anyhow::Result<()> {
    let case_database = case_database!(S, "hole");
    let (proxy, options) = through_proxy(&case_database)?;
    let pool = S::start(Options {
        max_size: 1,
        ..options
    })
    .await?;
    let transaction = pool.begin().await?;
    proxy.black_hole();
    drop(transaction);

    // The pool discards the connection and the socket that was to terminate its session.
    eventually("the socket is gone", async || {
        ensure!(proxy.sockets()[0].closed.is_some(), "it is open");
        Ok(())
    })
    .await?;
    proxy.pass();
    bounded("the next query", pool.execute("SELECT 1")).await??;
    bounded("the close", pool.close()).await?;
    proxy.open_become(0).await
}

/// 21, further: the peer is black-holed while a connection is idle. The next checkout gets another connection.
pub async fn idle_in_a_black_hole<S: Subject>() -> anyhow::Result<()> {
    let case_database = case_database!(S, "idle");
    let (proxy, options) = through_proxy(&case_database)?;
    let options = Options {
        max_size: 1,
        validate_after: Duration::ZERO,
        ..options
    };
    let pool = S::start(options).await?;
    proxy.black_hole();
    let query = tokio::spawn(pool.execute("SELECT 1"));
    // The validation got no answer, and a second socket tries to terminate the session. Both stay silent; the next one is
    // answered.
    proxy.open_become(2).await?;
    proxy.pass();

    bounded("the next query", query).await???;
    bounded("the close", pool.close()).await?;
    proxy.open_become(0).await
}

/// 22: all peers are black-holed at close: idle ones, half-read ones, and ones in a transaction. One limit applies to all of
/// them.
pub async fn close_into_a_black_hole<S: Subject>() -> anyhow::Result<()> {
    const PEERS: u32 = 24;
    let case_database = case_database!(S, "holes");
    let (proxy, options) = through_proxy(&case_database)?;
    let options = Options {
        max_size: PEERS,
        min_size: PEERS,
        ..options
    };
    let pool = S::start(Options {
        close_timeout: Duration::from_secs(1),
        ..options
    })
    .await?;
    let mut checkouts = try_join_all((0..PEERS).map(|_| pool.acquire())).await?;
    proxy.open_become(PEERS as usize).await?;

    for (index, checkout) in checkouts.iter_mut().enumerate() {
        match index % 3 {
            0 => S::Db::run(checkout.as_mut(), "BEGIN").await?,
            1 => {
                let mut rows = S::Db::read(checkout.as_mut(), S::Db::MANY_ROWS);
                rows.next().await.context("no row")??;
            }
            _ => {}
        }
    }
    proxy.black_hole();
    drop(checkouts);
    // One limit after another would take far longer than this waits.
    bounded("the close", pool.close()).await?;
    if S::OURS {
        proxy.open_become(0).await?;
    }
    Ok(())
}
