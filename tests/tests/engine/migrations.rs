//! Migrations of several programs at once, with few rights, and what their session leaves.

use std::fs;

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use poolhouse::Engine;
use poolhouse_tests::{CaseDatabase, Kind, Sql, Subject, subject::Own};
use sqlx::migrate::Migrator;
use sqlx::{Connection, Executor, PgConnection};
use tempfile::TempDir;

use super::{settings, started};
use crate::table::case_databases;

case_databases! {
    migrations_of_racing_programs_take_turns: race, on (postgres, mariadb, sqlite);
    what_migrations_set_ends_with_their_session: what_is_set, on (postgres, mariadb, sqlite);
    without_pending_migrations_no_right_is_needed: nothing_pending, on (postgres, mariadb);
    a_limit_for_statements_does_not_end_the_wait_for_another_program: limited, on (postgres, mariadb);
    a_program_that_waits_does_not_hinder_an_index_that_is_built_concurrently: index, on (postgres);
}

fn folder(files: &[(&str, &str)]) -> anyhow::Result<TempDir> {
    let folder = TempDir::new()?;
    for (name, sql) in files {
        fs::write(folder.path().join(name), sql)?;
    }
    Ok(folder)
}

/// The kind of server; `None` for SQLite.
fn kind<DB: Sql>() -> Option<Kind> {
    DB::SERVER
}

/// Starts independent engines, like those of several programs, with two migrations. The first one is slow enough for all of
/// them to find it missing.
async fn race<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let slow = match kind::<DB>() {
        Some(Kind::Postgres) => "SELECT pg_sleep(0.5)",
        Some(Kind::MariaDb) => "DO SLEEP(0.5)",
        None => {
            "CREATE TABLE slow AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) \
             SELECT max(i) FROM n"
        }
    };
    let first = format!("{slow}; CREATE TABLE band (id INTEGER)");
    let second = "INSERT INTO band VALUES (7)";
    let folder = folder(&[("1_one.sql", &first), ("2_two.sql", second)])?;
    let engines: Vec<Engine<DB>> = try_join_all((0..3).map(|program| {
        let settings = settings(&case_database)
            .engine(format!("program_{program}"))
            .migrations(folder.path());
        async move { started(&settings).await }
    }))
    .await?;
    ensure!(
        case_database
            .answer::<DB>("SELECT count(*) FROM band")
            .await?
            == 1
    );
    for engine in engines {
        engine.close_connection_pool().await;
    }
    case_database.closed_in_good_order().await
}

async fn what_is_set<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let (set, ask, usual) = match kind::<DB>() {
        Some(Kind::Postgres) => (
            "SET lock_timeout = '2s'",
            "SELECT setting::int8 FROM pg_settings WHERE name = 'lock_timeout'",
            0,
        ),
        Some(Kind::MariaDb) => (
            "SET foreign_key_checks = 0",
            "SELECT CAST(@@foreign_key_checks AS SIGNED)",
            1,
        ),
        None => (
            "-- no-transaction\nPRAGMA foreign_keys = OFF",
            "PRAGMA foreign_keys",
            1,
        ),
    };
    let first = folder(&[("1_one.sql", set)])?;
    let settings = settings(&case_database).max_size(1);
    let engine: Engine<DB> = started(&settings.migrations(first.path())).await?;
    ensure!(engine.status().size == 1);
    ensure!(DB::answer_on(engine.clone(), ask).await? == usual);

    let second = folder(&[("1_one.sql", set), ("2_two.sql", set)])?;
    engine.migrate(&Migrator::new(second.path()).await?).await?;
    ensure!(DB::answer_on(engine.clone(), ask).await? == usual);
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}

async fn nothing_pending<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let folder = folder(&[("1_one.sql", "CREATE TABLE band (id INTEGER)")])?;
    let settings = settings(&case_database).migrations(folder.path());
    let engine: Engine<DB> = started(&settings).await?;
    engine.close_connection_pool().await;

    let database = case_database.database()?;
    let name = database.name();
    match database.kind() {
        Kind::Postgres => {
            let mut url: url::Url = database.server().url.parse()?;
            url.set_path(name);
            let mut superuser = PgConnection::connect(url.as_str()).await?;
            superuser
                .execute(
                    "ALTER SCHEMA public OWNER TO CURRENT_USER; REVOKE ALL ON SCHEMA public FROM PUBLIC; \
                     GRANT USAGE ON SCHEMA public TO PUBLIC",
                )
                .await?;
            superuser.close().await?;
        }
        Kind::MariaDb => {
            let databases = name.replace('_', "\\_");
            let revoke = format!("REVOKE CREATE ON `{databases}%`.* FROM {name}@'%'");
            database.server().ask(&[revoke]).await?;
        }
    }
    let mut user = DB::Connection::connect(&case_database.url()).await?;
    let refused = DB::run(&mut user, "CREATE TABLE refused (id INTEGER)").await;
    user.close().await?;
    ensure!(refused.is_err(), "the user may create tables");
    let engine: Engine<DB> = started(&settings).await?;
    ensure!(
        Own(engine.clone())
            .number("SELECT count(*) FROM band")
            .await?
            == 0
    );
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}

/// Takes the lock of migrations, as sqlx does.
async fn locked<DB: Sql>(case_database: &CaseDatabase) -> anyhow::Result<DB::Connection> {
    let mut connection = DB::Connection::connect(&case_database.url()).await?;
    match kind::<DB>() {
        Some(Kind::MariaDb) => {
            let lock = "SELECT GET_LOCK(CONCAT('poolhouse_', SHA1(DATABASE())), 0)";
            ensure!(DB::answer(&mut connection, lock).await? == 1);
        }
        _ => DB::run(&mut connection, &take_of_sqlx(case_database)?).await?,
    }
    Ok(connection)
}

/// sqlx multiplies a number of its own with the CRC of the database's name.
fn take_of_sqlx(case_database: &CaseDatabase) -> anyhow::Result<String> {
    let name = case_database.database()?.name();
    let mut crc = u32::MAX;
    for byte in name.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            };
        }
    }
    let id = 0x3d32_ad9e * i64::from(!crc);
    Ok(format!("SELECT pg_advisory_lock({id})"))
}

/// Waits until a session of the engine has asked for the lock.
async fn is_asked_for(case_database: &CaseDatabase) -> anyhow::Result<()> {
    let what = "the engine asks for the lock";
    let database = case_database.database()?;
    let asks = |statement: &str| {
        let statement = statement.to_lowercase();
        statement.contains("advisory_lock") || statement.contains("get_lock")
    };
    let ours = |sessions: &[poolhouse_tests::Session]| {
        let asking = sessions.iter().filter(|session| asks(&session.statement));
        // The other one is that of this test.
        asking.count()
            == if database.kind() == Kind::Postgres {
                2
            } else {
                1
            }
    };
    database.sessions_become(what, ours).await.map(drop)
}

async fn limited<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let folder = folder(&[("1_one.sql", "CREATE TABLE band (id INTEGER)")])?;
    let limit = match kind::<DB>() {
        Some(Kind::MariaDb) => "SET max_statement_time = 0.3",
        _ => "SET statement_timeout = '300ms'",
    };
    let other = locked::<DB>(&case_database).await?;
    let settings = settings(&case_database)
        .session(limit)
        .migrations(folder.path());
    let start = tokio::spawn(async move { started::<DB>(&settings).await });
    // Longer than the limit.
    tokio::time::sleep(std::time::Duration::from_millis(900)).await;
    ensure!(!start.is_finished(), "it did not wait");
    other.close().await?;
    start.await??.close_connection_pool().await;
    ensure!(
        case_database
            .answer::<DB>("SELECT count(*) FROM band")
            .await?
            == 0
    );
    case_database.closed_in_good_order().await
}

async fn index<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    case_database
        .run::<DB>("CREATE TABLE band (id INTEGER)")
        .await?;
    let folder = folder(&[("1_one.sql", "CREATE TABLE song (id INTEGER)")])?;
    let mut other = locked::<DB>(&case_database).await?;
    let settings = settings(&case_database).migrations(folder.path());
    let start = tokio::spawn(async move { started::<DB>(&settings).await });
    is_asked_for(&case_database).await?;
    // It waits for every older snapshot.
    DB::run(&mut other, "CREATE INDEX CONCURRENTLY band_id ON band (id)")
        .await
        .context("the waiting program hinders it")?;
    other.close().await?;
    start.await??.close_connection_pool().await;
    case_database.closed_in_good_order().await
}
