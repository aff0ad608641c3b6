//! Extreme sizes and times: each works, or is an error of its setting (fault 48).

use std::{num::NonZeroU32, time::Duration};

use anyhow::{Context, ensure};
use poolhouse::{Engine, Settings, engine_finder_with};
use poolhouse_tests::{CaseDatabase, Sql, Subject, subject::Own};

use super::{bounded, settings, started};
use crate::table::case_databases;

case_databases! {
    case_48_the_longest_times: longest, on (postgres, mariadb, sqlite);
    case_48_the_shortest_times: shortest, on (postgres, mariadb, sqlite);
    case_48_the_largest_sizes: largest, on (postgres, mariadb, sqlite);
    case_48_the_longest_times_on_a_sqlx_pool: longest_on_sqlx, on (postgres, mariadb, sqlite);
    case_48_sizes_that_are_refused: refused, on (postgres, mariadb, sqlite);
}

fn with_times(settings: Settings, time: Duration) -> Settings {
    settings
        .acquire_timeout(time)
        .connect_timeout(time)
        .start_timeout(time)
        .idle_timeout(time)
        .max_lifetime(time)
        .validate_after(time)
        .leak_after(time)
        .close_timeout(time)
        .slow_query(time)
}

async fn works<DB: Sql>(settings: &Settings) -> anyhow::Result<()> {
    let engine: Engine<DB> = bounded("the start", started(settings)).await??;
    for _ in 0..3 {
        Own(engine.clone()).execute("SELECT 1").await?;
        drop(engine.acquire().await?);
        drop(engine.begin().await?);
    }
    engine.health().await?;
    let held = engine.acquire().await?;
    drop(held);
    bounded("the close", engine.close_connection_pool()).await?;
    Ok(())
}

async fn longest<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    for time in [
        Duration::MAX,
        Duration::from_secs(u64::MAX / 1000),
        Duration::from_millis(u64::MAX),
        Duration::from_nanos(u64::MAX),
    ] {
        let node = Settings::new().url(case_database.url());
        let settings = settings("longest", case_database.url()).node("replica1", node);
        works::<DB>(&with_times(settings, time)).await?;
    }
    case_database.closed_in_good_order().await
}

async fn shortest<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let tiny = Duration::from_nanos(1);
    // The limits of waits are long; all other times are tiny.
    let settings = with_times(settings("shortest", case_database.url()), tiny)
        .acquire_timeout("20s")
        .connect_timeout("20s")
        .start_timeout("20s");
    works::<DB>(&settings.clone().close_timeout("20s")).await?;
    let zero = settings
        .validate_after(Duration::ZERO)
        .slow_query(Duration::ZERO)
        .close_timeout(Duration::ZERO);
    let engine: Engine<DB> = started(&zero).await?;
    Own(engine.clone()).execute("SELECT 1").await?;
    bounded("the close", engine.close_connection_pool()).await?;
    case_database.no_session_left().await
}

async fn largest<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    for size in [1, 2, 262_142, 262_143] {
        let settings = settings("largest", case_database.url())
            .max_size(size)
            .statement_cache(u32::MAX);
        works::<DB>(&settings).await?;
    }
    let engine: Engine<DB> = started(&settings("resized", case_database.url())).await?;
    for size in [1, 2, 262_142, 262_143] {
        engine.resize(NonZeroU32::new(size).context("zero")?)?;
        Own(engine.clone()).execute("SELECT 1").await?;
    }
    for size in [262_144, u32::MAX - 1, u32::MAX] {
        let error = engine.resize(NonZeroU32::new(size).context("zero")?);
        let said = error.err().context("it is resized")?.to_string();
        ensure!(said.contains("larger than 262143"), "{said}");
    }
    ensure!(engine.status().max == 262_143, "{}", engine.status());
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}

#[poolhouse::with_pool(
    engine = "on_sqlx", url = url, max_size = 262_143, acquire_timeout = Duration::MAX,
    connect_timeout = Duration::MAX, start_timeout = Duration::MAX, idle_timeout = Duration::MAX,
    max_lifetime = Duration::MAX, close_timeout = Duration::MAX, slow_query = Duration::MAX
)]
async fn on_sqlx<DB: Sql>(url: &str, #[pool] pool: sqlx::Pool<DB>) -> anyhow::Result<()> {
    let _ = url;
    drop(pool.acquire().await?);
    Ok(())
}

async fn longest_on_sqlx<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    bounded("the run", on_sqlx::<DB>(&case_database.url())).await??;
    case_database.no_session_left().await
}

async fn refused<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let settings = settings("refused", case_database.url());
    for (settings, name) in [
        (settings.clone().max_size(0), "max_size"),
        (settings.clone().max_size(262_144), "max_size"),
        (settings.clone().max_size(u32::MAX), "max_size"),
        (settings.clone().min_size(u32::MAX), "min_size"),
        (settings.clone().min_size(11), "min_size"),
        (
            settings.clone().acquire_timeout(Duration::ZERO),
            "acquire_timeout",
        ),
        (
            settings.clone().connect_timeout(Duration::ZERO),
            "connect_timeout",
        ),
        (
            settings.clone().start_timeout(Duration::ZERO),
            "start_timeout",
        ),
        (
            settings.clone().idle_timeout(Duration::ZERO),
            "idle_timeout",
        ),
        (
            settings.clone().max_lifetime(Duration::ZERO),
            "max_lifetime",
        ),
        (settings.clone().leak_after(Duration::ZERO), "leak_after"),
    ] {
        let found = engine_finder_with::<DB>(&settings);
        let said = found.err().context("it is taken")?.to_string();
        ensure!(said.contains(name) && said.contains("(builder, "), "{said}");
    }
    Ok(())
}
