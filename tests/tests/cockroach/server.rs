//! Cases without faults, on a real server or on the stand-in.

use std::env;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use anyhow::{Context, ensure};
use poolhouse::{PgEngine, Settings, engine_finder_with};
use poolhouse_tests::eventually;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqlSafeStr};
use tokio::process::Command;
use url::Url;

use super::{Fixture, add, count, settings, started};

const VARIABLE: &str = "COCKROACH_URL";

/// Runs a case with the URL of an empty database.
async fn on_cockroach(case: impl AsyncFnOnce(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let Ok(url) = env::var(VARIABLE) else {
        return match Fixture::new().await? {
            Some(fixture) => {
                case(fixture.double.url()).await?;
                fixture.database.no_session_left().await
            }
            None => Ok(()),
        };
    };
    let mut url = Url::parse(&url)?;
    // The scheme that the driver knows, for the connection below.
    ensure!(url.set_scheme("postgres").is_ok(), "{VARIABLE} is no URL");
    let name = format!("t_cockroach_{:08x}", fastrand::u32(..));
    let mut connection = PgConnection::connect(url.as_str()).await?;
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut connection)
        .await?;
    url.set_path(&name);
    let played = case(url.as_str()).await;
    sqlx::raw_sql(AssertSqlSafe(format!("DROP DATABASE {name} CASCADE")))
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    played
}

#[tokio::test]
async fn it_is_recognised_by_its_scheme_and_by_what_it_says() -> anyhow::Result<()> {
    on_cockroach(async |url| {
        for scheme in ["postgres", "cockroachdb", "cockroach"] {
            let url = url.replacen("postgres://", &format!("{scheme}://"), 1);
            let name = format!("{scheme}_recognised");
            let engine: PgEngine = engine_finder_with(&Settings::new().engine(name).url(url))?;
            engine.start_connection_pool().await?;
            let server = engine.server().context("it is started")?;
            ensure!(server.kind == "CockroachDB", "{server:?}");
            ensure!(server.version.starts_with("CockroachDB "), "{server:?}");
            engine.close_connection_pool().await;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_engine_starts_works_and_closes() -> anyhow::Result<()> {
    on_cockroach(async |url| {
        let engine = started(&settings(url)).await?;
        add(&engine, 1, &AtomicU32::new(0)).await?;
        let mut transaction = engine.begin().await?;
        sqlx::query("INSERT INTO entry VALUES (2)")
            .execute(&mut transaction)
            .await?;
        transaction.rollback().await?;
        ensure!(count(&engine).await? == 1);
        ensure!(engine.close_connection_pool().await.is_clean());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_close_cancels_the_sessions_that_are_left() -> anyhow::Result<()> {
    on_cockroach(async |url| {
        let settings = settings(url).close_timeout(Duration::from_millis(200));
        let engine = started(&settings).await?;
        let sleeper = engine.clone();
        let asleep =
            tokio::spawn(
                async move { sqlx::query("SELECT pg_sleep(3600)").execute(&sleeper).await },
            );
        eventually("the statement runs", async || {
            ensure!(engine.status().in_use == 1);
            Ok(())
        })
        .await?;
        let report = engine.close_connection_pool().await;
        ensure!(
            report.unreachable.is_none() && report.ended.len() == 1,
            "{report:?}"
        );
        let session = report.ended[0].session.clone().context("it has an id")?;
        let woken = tokio::time::timeout(Duration::from_mins(1), asleep).await;
        ensure!(woken.context("nobody has ended it")??.is_err());
        let mut connection = PgConnection::connect(url).await?;
        eventually("the cluster has ended it", async || {
            let left = format!(
                "SELECT count(*) FROM [SHOW CLUSTER SESSIONS] WHERE session_id = '{session}'"
            );
            let left: i64 = sqlx::query_scalar(AssertSqlSafe(left))
                .fetch_one(&mut connection)
                .await?;
            ensure!(left == 0);
            Ok(())
        })
        .await?;
        Ok(connection.close().await?)
    })
    .await
}

#[tokio::test]
async fn migrations_run() -> anyhow::Result<()> {
    on_cockroach(async |url| {
        let engine: PgEngine = engine_finder_with(&settings(url).migrator(bands()))?;
        engine.start_connection_pool().await?;
        let bands: i64 = sqlx::query_scalar("SELECT count(*) FROM band")
            .fetch_one(&engine)
            .await?;
        ensure!(bands == 0);
        engine.close_connection_pool().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn migrations_ask_for_no_lock() -> anyhow::Result<()> {
    let Some(fixture) = Fixture::new().await? else {
        return Ok(());
    };
    let engine: PgEngine = engine_finder_with(&fixture.settings().migrator(bands()))?;
    engine.start_connection_pool().await?;
    ensure!(fixture.double.advisory_locks() == 0);
    engine.close_connection_pool().await;
    Ok(())
}

fn bands() -> Migrator {
    let create = "CREATE TABLE band (id INT8 PRIMARY KEY)";
    let migration = Migration::new(
        1,
        "bands".into(),
        MigrationType::Simple,
        AssertSqlSafe(create).into_sql_str(),
        false,
    );
    Migrator::with_migrations(vec![migration])
}

#[tokio::test]
async fn a_schema_change_is_part_of_its_transaction() -> anyhow::Result<()> {
    on_cockroach(async |url| {
        let engine = started(&settings(url)).await?;
        let mut transaction = engine.begin().await?;
        sqlx::query("INSERT INTO entry VALUES (1)")
            .execute(&mut transaction)
            .await?;
        sqlx::raw_sql("CREATE TABLE extra (id INT8 PRIMARY KEY)")
            .execute(&mut transaction)
            .await?;
        transaction.rollback().await?;
        ensure!(count(&engine).await? == 0);
        engine.close_connection_pool().await;
        Ok(())
    })
    .await
}

/// Shows with the stand-in's URL that these tests use the server of `COCKROACH_URL`.
#[tokio::test]
async fn they_run_on_the_server_that_the_environment_names() -> anyhow::Result<()> {
    if env::var_os(VARIABLE).is_some() {
        return Ok(());
    }
    let Some(fixture) = Fixture::new().await? else {
        return Ok(());
    };
    let before = fixture.double.statements();
    let output = Command::new(env::current_exe()?)
        .args(["cockroach::server::", "--test-threads=2"])
        .env(VARIABLE, fixture.double.superuser_url()?)
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}");
    ensure!(fixture.double.statements() > before, "{said}");
    Ok(())
}
