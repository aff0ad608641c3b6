//! The finder, and an engine that is not started.

use std::{num::NonZeroU32, thread};

use anyhow::{Context, ensure};
use poolhouse::{
    AcquireError, AcquireKind, CloseReport, Engine, Left, Settings, engine_finder_with,
};
use poolhouse_tests::{CaseDatabase, Heard, Sql, Subject, subject::Own};

use super::{settings, started};
use crate::table::case_databases;

case_databases! {
    a_query_before_start_has_a_connection_of_its_own: queries, on (postgres, mariadb, sqlite);
    require_pool_makes_it_an_error: require_pool, on (postgres, mariadb, sqlite);
    it_has_a_name_and_nothing_else: nothing, on (postgres, mariadb, sqlite);
    a_close_says_that_there_is_nothing_to_close: close, on (postgres, mariadb, sqlite);
    a_start_needs_a_runtime: no_runtime, on (sqlite);
    the_finder_gives_the_same_engine_in_one_runtime: same, on (sqlite);
    the_finder_gives_each_runtime_its_own: scopes, on (sqlite);
    an_engine_of_another_kind_is_an_error: other_kind, on (sqlite);
}

async fn queries<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let heard = Heard::here();
    let engine: Engine<DB> = engine_finder_with(&settings(&case_database))?;
    let db = Own(engine.clone());
    for _ in 0..3 {
        ensure!(db.number("SELECT count(*)").await? == 1);
        case_database.no_session_left().await?;
    }
    case_database
        .run::<DB>("CREATE TABLE entry (id INTEGER)")
        .await?;
    let mut transaction = engine.begin().await?;
    DB::run(&mut transaction, "INSERT INTO entry VALUES (1)").await?;
    transaction.commit().await?;
    case_database.closed_in_good_order().await?;

    let warnings = heard.lines("a query before start_connection_pool()");
    ensure!(warnings.len() == 1, "{warnings:?}");
    let warning = &warnings[0];
    ensure!(
        warning.contains("WARN") && warning.contains("engine_test"),
        "{warning}"
    );
    Ok(())
}

async fn require_pool<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let engine: Engine<DB> = engine_finder_with(&settings(&case_database))?;
    engine.require_pool(true);
    let error = Own(engine.clone())
        .execute("SELECT 1")
        .await
        .err()
        .context("no error")?;
    ensure!(
        error.to_string().ends_with(
            "engine `engine_test`: its pool is not started, and this engine requires one (require_pool). Put #[with_pool] on the \
             function that runs first, or call start_connection_pool()"
        ),
        "{error}"
    );
    let kind = AcquireError::find(&error).map(AcquireError::kind);
    ensure!(kind == Some(AcquireKind::NotStarted), "{kind:?}");
    engine.start_connection_pool().await?;
    Own(engine.clone()).execute("SELECT 1").await?;
    engine.close_connection_pool().await;
    Ok(())
}

async fn nothing<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let engine: Engine<DB> = engine_finder_with(&settings(&case_database))?;
    ensure!(engine.name() == "engine_test");
    ensure!(engine.server().is_none());
    ensure!(engine.status().max == 0, "{}", engine.status());
    ensure!(engine.as_sqlx_pool().is_none());
    engine.evict();
    let error = engine
        .resize(NonZeroU32::MIN)
        .err()
        .context("it was resized")?;
    ensure!(
        error.to_string()
            == "engine `engine_test`: its pool is not started, so it cannot be resized. Start it first",
        "{error}"
    );
    let shown = format!("{engine:?}");
    ensure!(shown.contains("pool: \"not started\""), "{shown}");
    if let CaseDatabase::Server(database) = &case_database {
        ensure!(!shown.contains(database.password()), "{shown}");
    }
    Ok(())
}

async fn close<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let nothing = |report: CloseReport| {
        ensure!(report.left == Some(Left::NotStarted), "{report:?}");
        ensure!(
            report.to_string()
                == "engine `engine_test`: its pool is not started, so there is nothing to close",
            "{report}"
        );
        Ok(())
    };
    let engine: Engine<DB> = engine_finder_with(&settings(&case_database))?;
    nothing(engine.close_connection_pool().await)?;
    engine.start_connection_pool().await?;
    engine.start_connection_pool().await?;
    let report = engine.close_connection_pool().await;
    ensure!(report.left == Some(Left::Shared), "{report:?}");
    Own(engine.clone()).execute("SELECT 1").await?;
    let report = engine.close_connection_pool().await;
    ensure!(report.left.is_none() && report.open == 1, "{report:?}");
    nothing(engine.close_connection_pool().await)?;
    case_database.closed_in_good_order().await?;
    // The engine can be started again.
    engine.start_connection_pool().await?;
    Own(engine.clone()).execute("SELECT 1").await?;
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}

async fn no_runtime<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    // Outside any runtime the engine belongs to the whole process, so it has its own name.
    let settings = settings(&case_database).engine("engine_of_the_process");
    let outside = thread::spawn(move || -> anyhow::Result<String> {
        let engine: Engine<DB> = engine_finder_with(&settings)?;
        let start = futures_util::FutureExt::now_or_never(engine.start_connection_pool());
        let error = start.context("it waits")?.err().context("it has started")?;
        Ok(error.to_string())
    });
    let said = outside.join().ok().context("it has panicked")??;
    ensure!(
        said == "engine `engine_of_the_process`: a pool can only be started, and its server asked, inside a tokio runtime. Call it from async code under \
                 #[with_pool] or #[tokio::main]",
        "{said}"
    );
    Ok(())
}

async fn same<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let first: Engine<DB> = started(&settings(&case_database)).await?;
    // A task finds the engine too, by its name alone.
    let found =
        tokio::spawn(async { engine_finder_with::<DB>(&Settings::new().engine("engine_test")) });
    ensure!(found.await??.status().size == 1);
    first.close_connection_pool().await;
    Ok(())
}

async fn scopes<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let here: Engine<DB> = started(&settings(&case_database)).await?;
    let settings = settings(&case_database);
    let other = thread::spawn(move || -> anyhow::Result<usize> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let found = runtime.block_on(async { engine_finder_with::<DB>(&settings) });
        Ok(found?.status().size)
    });
    ensure!(
        other.join().ok().context("it has panicked")?? == 0,
        "it is the same"
    );
    here.close_connection_pool().await;
    Ok(())
}

async fn other_kind<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let engine: Engine<DB> = started(&settings(&case_database)).await?;
    let expected = "engine `engine_test`: its pool could not be started: it is configured for SQLite, and the code asks for \
                    Postgres. Configure a Postgres url, or ask for an engine of SQLite. url = sqlite:";
    let name = Settings::new().engine("engine_test");
    for asked in [
        settings(&case_database),
        name.clone(),
        name.url("postgres://band@host/db"),
    ] {
        let error = engine_finder_with::<sqlx::Postgres>(&asked);
        let said = error.err().context("no error")?.to_string();
        ensure!(said.starts_with(expected), "{said}");
    }
    engine.close_connection_pool().await;
    Ok(())
}
