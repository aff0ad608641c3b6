//! A server with room for fewer connections than `max_size`.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use anyhow::ensure;
use futures_util::future::{join_all, try_join_all};
use poolhouse::Engine;
use poolhouse_tests::{CaseDatabase, Sql, eventually, faults::start::allow};

use super::{settings, started};
use crate::table::case_databases;

case_databases! {
    a_full_server_serves_all_callers_in_turn: in_turn, on (postgres, mariadb);
    a_smaller_pool_keeps_its_connections_on_a_full_server: resized, on (postgres, mariadb);
}

async fn in_turn<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let database = case_database.database()?;
    allow(database, 3).await?;
    let settings = settings("in_turn", case_database.url())
        .max_size(10)
        .acquire_timeout("10s");
    let engine: Engine<DB> = started(&settings).await?;
    // A caller that has returned its connection asks again at once, for longer than `acquire_timeout`.
    let end = Instant::now() + Duration::from_secs(12);
    let callers = (0..20).map(|_| {
        let engine = engine.clone();
        tokio::spawn(async move {
            let mut served = 0;
            while Instant::now() < end {
                let held = engine.acquire().await?;
                tokio::time::sleep(Duration::from_millis(5)).await;
                drop(held);
                served += 1;
            }
            Ok::<u32, poolhouse::Error>(served)
        })
    });
    let mut served = Vec::new();
    for caller in join_all(callers).await {
        served.push(caller??);
    }
    let (least, most) = (served.iter().min(), served.iter().max());
    ensure!(
        least
            .zip(most)
            .is_some_and(|(least, most)| least * 2 > *most),
        "{served:?}"
    );
    ensure!(engine.status().size <= 3, "{:?}", engine.status());

    allow(database, 10).await?;
    let all = eventually("there is room", async || {
        Ok(try_join_all((0..10).map(|_| engine.acquire())).await?)
    });
    drop(all.await?);
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}

async fn resized<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let database = case_database.database()?;
    allow(database, 2).await?;
    let settings = settings("resized", case_database.url())
        .max_size(10)
        // The keeper asks the server every 500 ms.
        .acquire_timeout("2200ms");
    let engine: Engine<DB> = started(&settings).await?;
    let mut kept = 0;
    for _ in 0..3 {
        engine.resize(NonZeroU32::try_from(10)?)?;
        let held = try_join_all([engine.acquire(), engine.acquire()]).await?;
        // The server has no room for these.
        let refused = join_all((0..5).map(|_| engine.acquire())).await;
        ensure!(refused.iter().all(Result::is_err));
        engine.resize(NonZeroU32::try_from(2)?)?;
        drop(held);
        let status = engine.status();
        kept = kept.max(status.idle);
        ensure!(status.size <= 2, "{status:?}");
    }
    // In one of the rounds a further connection may just have been tried, for which one of these is closed.
    ensure!(kept == 2, "{kept} were kept");
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}
