//! Settings that affect the server or the log.

use std::{fs, sync::LazyLock};

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use poolhouse::{Engine, with_pool};
use poolhouse_tests::{CaseDatabase, Heard, Sql, Subject, subject::Own};
use sqlx::{
    SqlStr,
    migrate::{Migration, MigrationType, Migrator},
    mysql::MySqlConnectOptions,
    postgres::PgConnectOptions,
};
use tempfile::TempDir;

use super::{settings, started};
use crate::table::case_databases;

case_databases! {
    application_name_is_shown_by_the_server: application_name, on (postgres);
    connect_with_has_the_last_word: connect_with, on (postgres, mariadb);
    session_runs_on_every_connection: session, on (postgres, mariadb, sqlite);
    extensions_are_created: extensions, on (postgres);
    an_extension_that_may_not_be_created_is_a_warning: extension_denied, on (postgres);
    // SQLite logs on a thread of the driver, which does not have this test's subscriber.
    queries_are_logged: log_queries, on (postgres, mariadb);
    embedded_migrations_run_once: embedded, on (postgres, mariadb, sqlite);
    a_directory_of_migrations_runs: directory, on (postgres, mariadb, sqlite);
    a_migrator_runs: migrator, on (postgres, mariadb, sqlite);
    a_migration_that_fails_closes_the_pool: migration_fails, on (postgres, mariadb, sqlite);
    without_a_statement_cache_none_are_left_behind: statement_cache, on (postgres);
    lazy_connects_when_asked: lazy, on (postgres, mariadb);
    min_size_is_open_after_the_start: min_size, on (postgres, mariadb);
}

/// 45: the driver never closes a statement that it does not cache.
async fn statement_cache<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let settings = settings(&case_database).max_size(1);
    let before =
        async |options: PgConnectOptions| Ok::<_, sqlx::Error>(options.statement_cache_capacity(0));
    for settings in [
        settings.clone().statement_cache(0),
        settings
            .clone()
            .connect_with(|options: PgConnectOptions| options.statement_cache_capacity(0)),
        settings.before_connect(before),
    ] {
        let engine: Engine<DB> = started(&settings).await?;
        for number in 0..200 {
            let sql = format!("SELECT {number}::int8");
            ensure!(DB::answer_on(engine.clone(), &sql).await? == number);
        }
        let left = "SELECT count(*) FROM pg_prepared_statements";
        let left = DB::answer(&mut *engine.acquire().await?, left).await?;
        ensure!(left <= 1, "{left} statements are left in the session");
        engine.close_connection_pool().await;
    }
    Ok(())
}

async fn application_name<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let shown = async || -> anyhow::Result<String> {
        let sessions = case_database.database()?.sessions().await?;
        Ok(sessions.first().context("no session")?.application.clone())
    };
    let engine: Engine<DB> = started(&settings(&case_database).application_name("a name")).await?;
    ensure!(shown().await? == "a name");
    engine.close_connection_pool().await;
    case_database.no_session_left().await?;

    // A name in the URL is stronger.
    let url = format!("{}?application_name=url", case_database.url());
    let engine = started::<DB>(
        &settings(&case_database)
            .engine("other")
            .url(url)
            .application_name("a name"),
    )
    .await?;
    ensure!(shown().await? == "url");
    engine.close_connection_pool().await;
    case_database.no_session_left().await?;

    // Under the attribute, the default is the crate's name.
    attributed::<DB>(&case_database.url(), async || {
        ensure!(shown().await? == env!("CARGO_PKG_NAME"));
        Ok(())
    })
    .await
}

#[with_pool(engine = "attributed", url = url)]
async fn attributed<DB: Sql>(
    url: &str,
    body: impl AsyncFnOnce() -> anyhow::Result<()>,
    #[pool] db: Engine<DB>,
) -> anyhow::Result<()> {
    let _ = (url, db);
    body().await
}

async fn connect_with<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let settings = settings(&case_database)
        .application_name("a name")
        .connect_with(|options: PgConnectOptions| options.application_name("changed"))
        .connect_with(|options: MySqlConnectOptions| options.timezone(String::from("+03:00")));
    let engine: Engine<DB> = started(&settings).await?;
    let db = Own(engine.clone());
    let changed = if DB::PRODUCT == "Postgres" {
        db.number("SELECT (current_setting('application_name') = 'changed')::int::int8")
            .await?
    } else {
        db.number("SELECT CAST(@@time_zone = '+03:00' AS SIGNED)")
            .await?
    };
    ensure!(changed == 1);
    engine.close_connection_pool().await;
    Ok(())
}

async fn session<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let (sql, query) = match DB::PRODUCT {
        "Postgres" => (
            "SET statement_timeout = '7s'; SET work_mem = '3MB'",
            "SELECT (current_setting('statement_timeout') = '7s' AND current_setting('work_mem') = '3MB')::int::int8",
        ),
        "MariaDB" => ("SET @band = 7", "SELECT CAST(@band = 7 AS SIGNED)"),
        _ => (
            "CREATE TEMP TABLE band (id INTEGER); INSERT INTO band VALUES (1)",
            "SELECT count(*) FROM band",
        ),
    };
    let engine: Engine<DB> = started(&settings(&case_database).max_size(3).session(sql)).await?;
    let mut checkouts = try_join_all((0..3).map(|_| engine.acquire())).await?;
    for checkout in &mut checkouts {
        ensure!(DB::answer(checkout, query).await? == 1);
    }
    drop(checkouts);
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}

async fn extensions<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    // Both are trusted: the owner of the database may create them.
    for _ in 0..2 {
        let engine: Engine<DB> =
            started(&settings(&case_database).extensions(["citext", "pg_trgm"])).await?;
        let query = "SELECT count(*) FROM pg_extension WHERE extname IN ('citext', 'pg_trgm')";
        ensure!(Own(engine.clone()).number(query).await? == 2);
        engine.close_connection_pool().await;
    }
    case_database.closed_in_good_order().await
}

async fn extension_denied<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let heard = Heard::here();
    let engine: Engine<DB> =
        started(&settings(&case_database).extensions(["file_fdw", "citext"])).await?;
    let warnings = heard.lines("the extension could not be created");
    ensure!(warnings.len() == 1, "{warnings:?}");
    ensure!(
        warnings[0].contains("WARN") && warnings[0].contains("file_fdw"),
        "{warnings:?}"
    );
    let query = "SELECT count(*) FROM pg_extension WHERE extname = 'citext'";
    ensure!(Own(engine.clone()).number(query).await? == 1);
    engine.close_connection_pool().await;
    Ok(())
}

async fn log_queries<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let heard = Heard::here();
    let engine: Engine<DB> = started(
        &settings(&case_database)
            .log_queries("info")
            .slow_query("1ns"),
    )
    .await?;
    Own(engine.clone())
        .number("SELECT count(*) AS n4711")
        .await?;
    engine.close_connection_pool().await;
    let lines = heard.lines("n4711");
    ensure!(
        lines
            .iter()
            .any(|line| line.contains("WARN") && line.contains("slow")),
        "{lines:?}"
    );
    drop(heard);

    let heard = Heard::here();
    let engine: Engine<DB> = started(&settings(&case_database).log_queries("info")).await?;
    Own(engine.clone())
        .number("SELECT count(*) AS n4712")
        .await?;
    engine.close_connection_pool().await;
    let lines = heard.lines("n4712");
    ensure!(lines.iter().any(|line| line.contains("INFO")), "{lines:?}");
    drop(heard);

    // By default, queries are not logged at any level.
    let heard = Heard::here();
    let engine: Engine<DB> = started(&settings(&case_database)).await?;
    Own(engine.clone())
        .number("SELECT count(*) AS n4713")
        .await?;
    engine.close_connection_pool().await;
    ensure!(heard.lines("n4713").is_empty(), "{}", heard.everything());
    Ok(())
}

#[with_pool(engine = "attributed", url = url, migrations = "tests/engine/migrations")]
async fn migrated<DB: Sql>(url: &str, #[pool] db: Engine<DB>) -> anyhow::Result<i64> {
    let _ = url;
    Ok(Own(db).number("SELECT count(*) FROM band").await?)
}

async fn embedded<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    for _ in 0..2 {
        ensure!(migrated::<DB>(&case_database.url()).await? == 2);
    }
    case_database.closed_in_good_order().await
}

async fn directory<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    fs::write(
        folder.path().join("1_one.sql"),
        "CREATE TABLE band (id INTEGER)",
    )?;
    fs::write(
        folder.path().join("2_two.sql"),
        "INSERT INTO band VALUES (7)",
    )?;
    let engine: Engine<DB> = started(&settings(&case_database).migrations(folder.path())).await?;
    ensure!(
        Own(engine.clone())
            .number("SELECT count(*) FROM band")
            .await?
            == 1
    );
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}

static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| {
    let migration = Migration::new(
        1,
        "bands".into(),
        MigrationType::Simple,
        SqlStr::from_static("CREATE TABLE band (id INTEGER)"),
        false,
    );
    Migrator::with_migrations(vec![migration])
});

async fn migrator<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let engine: Engine<DB> = started(&settings(&case_database).migrator(&*MIGRATOR)).await?;
    ensure!(
        Own(engine.clone())
            .number("SELECT count(*) FROM band")
            .await?
            == 0
    );
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}

async fn migration_fails<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    fs::write(
        folder.path().join("1_one.sql"),
        "CREATE TABL band (id INTEGER)",
    )?;
    let settings = settings(&case_database)
        .min_size(3)
        .migrations(folder.path());
    // Two tries, because the first one must release the driver's lock.
    for _ in 0..2 {
        let started = started::<DB>(&settings).await;
        let error = started.err().context("it has started")?;
        ensure!(!error.to_string().contains("syntax"), "{error}");
        let said = format!("{error:?}");
        for words in [
            "engine `engine_test`: its pool could not be started: a migration failed: ",
            "; migrations = ",
            " (builder, ",
            "Correct the migration, or the database that it does not fit. url = ",
            "Caused by:",
            "syntax",
        ] {
            ensure!(said.contains(words), "{words:?} is not in {said}");
        }
        case_database.closed_in_good_order().await?;
    }
    Ok(())
}

async fn lazy<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let engine: Engine<DB> = started(&settings(&case_database).lazy(true).min_size(1)).await?;
    ensure!(engine.status().size == 0 && case_database.sessions().await? == Some(0));
    Own(engine.clone()).execute("SELECT 1").await?;
    ensure!(case_database.sessions().await? >= Some(1));
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}

async fn min_size<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let engine: Engine<DB> = started(&settings(&case_database).min_size(6)).await?;
    ensure!(engine.status().idle == 6 && case_database.sessions().await? == Some(6));
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}
