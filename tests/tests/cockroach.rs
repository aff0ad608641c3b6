//! CockroachDB: against a real server where `COCKROACH_URL` names one, and else against the stand-in.
//!
//! What can only be shown when a fault comes at the right moment needs the stand-in.

use std::time::Duration;

use anyhow::{Context, ensure};
use poolhouse::{PgEngine, Settings, TransactionError, TransactionOptions, engine_finder_with};
use poolhouse_tests::{Cockroach, Kind, TestDatabase, eventually, servers};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};

/// A database of the stand-in's.
struct Place {
    database: TestDatabase,
    double: Cockroach,
}

impl Place {
    async fn new() -> anyhow::Result<Option<Self>> {
        let Some(server) = servers::require(Kind::Postgres) else {
            return Ok(None);
        };
        let database = server.database("cockroach").await?;
        let double = Cockroach::before(&database).await?;
        Ok(Some(Self { database, double }))
    }

    fn settings(&self) -> Settings {
        Settings::new()
            .engine("cockroach")
            .url(self.double.url())
            .max_size(3)
    }

    /// A started engine, and a table that is empty.
    async fn started(&self) -> anyhow::Result<PgEngine> {
        started(&self.settings()).await
    }
}

async fn started(settings: &Settings) -> anyhow::Result<PgEngine> {
    let engine: PgEngine = engine_finder_with(settings)?;
    engine.start_connection_pool().await?;
    sqlx::raw_sql("DROP TABLE IF EXISTS poolhouse_entry")
        .execute(&engine)
        .await?;
    sqlx::raw_sql("CREATE TABLE poolhouse_entry (id INT8 PRIMARY KEY)")
        .execute(&engine)
        .await?;
    Ok(engine)
}

async fn add(engine: &PgEngine, id: i64, attempts: &mut u32) -> sqlx::Result<()> {
    engine
        .transaction(|transaction| {
            *attempts += 1;
            Box::pin(async move {
                sqlx::query("INSERT INTO poolhouse_entry VALUES ($1)")
                    .bind(id)
                    .execute(transaction)
                    .await?;
                Ok(())
            })
        })
        .await
}

async fn count(engine: &PgEngine) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT count(*) FROM poolhouse_entry")
        .fetch_one(engine)
        .await
}

#[tokio::test]
async fn it_is_recognised_by_its_scheme_and_by_what_it_says() -> anyhow::Result<()> {
    let Some(place) = Place::new().await? else {
        return Ok(());
    };
    let as_postgres = place.double.url();
    for (name, scheme) in ["postgres", "cockroachdb", "cockroach"].into_iter().zip([
        "postgres://",
        "cockroachdb://",
        "cockroach://",
    ]) {
        let url = as_postgres.replace("postgres://", scheme);
        let engine: PgEngine =
            engine_finder_with(&Settings::new().engine(format!("roach_{name}")).url(url))?;
        engine.start_connection_pool().await?;
        let server = engine.server().context("it is started")?;
        ensure!(server.kind == "CockroachDB", "{server:?}");
        ensure!(server.version.starts_with("CockroachDB "), "{server:?}");
        engine.close_connection_pool().await;
    }
    Ok(())
}

/// The life of an engine, on a real server if there is one.
#[tokio::test]
async fn an_engine_starts_works_and_closes() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let real = std::env::var("COCKROACH_URL").ok();
    let Some(url) = real.or_else(|| Some(place.as_ref()?.double.url().to_owned())) else {
        return Ok(());
    };
    let engine = started(&Settings::new().engine("cockroach_life").url(url)).await?;
    let mut attempts = 0;
    add(&engine, 1, &mut attempts).await?;
    let mut transaction = engine.begin().await?;
    sqlx::query("INSERT INTO poolhouse_entry VALUES (2)")
        .execute(&mut transaction)
        .await?;
    transaction.rollback().await?;
    ensure!(count(&engine).await? == 1);
    sqlx::raw_sql("DROP TABLE poolhouse_entry")
        .execute(&engine)
        .await?;
    ensure!(engine.close_connection_pool().await.is_clean());
    Ok(())
}

#[tokio::test]
async fn a_close_cancels_the_sessions_that_are_left() -> anyhow::Result<()> {
    let Some(place) = Place::new().await? else {
        return Ok(());
    };
    let settings = place.settings().close_timeout(Duration::from_millis(200));
    let engine = started(&settings).await?;
    let sleeper = engine.clone();
    let asleep =
        tokio::spawn(async move { sqlx::query("SELECT pg_sleep(3600)").execute(&sleeper).await });
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
    ensure!(
        place.double.cancelled() == 1,
        "{}",
        place.double.cancelled()
    );
    ensure!(asleep.await?.is_err());
    place.database.no_session_left().await
}

#[tokio::test]
async fn migrations_take_no_lock() -> anyhow::Result<()> {
    let Some(place) = Place::new().await? else {
        return Ok(());
    };
    let create = "CREATE TABLE band (id INT8 PRIMARY KEY)";
    let migration = Migration::new(
        1,
        "bands".into(),
        MigrationType::Simple,
        AssertSqlSafe(create).into_sql_str(),
        false,
    );
    let migrator = Migrator::with_migrations(vec![migration]);
    let engine: PgEngine = engine_finder_with(&place.settings().migrator(migrator))?;
    engine.start_connection_pool().await?;
    let bands: i64 = sqlx::query_scalar("SELECT count(*) FROM band")
        .fetch_one(&engine)
        .await?;
    ensure!(bands == 0 && place.double.advisory_locks() == 0);
    engine.close_connection_pool().await;
    Ok(())
}

#[tokio::test]
async fn conflicts_at_statements_and_at_commits_are_run_again() -> anyhow::Result<()> {
    let Some(place) = Place::new().await? else {
        return Ok(());
    };
    let engine = place.started().await?;
    let mut attempts = 0;
    place.double.conflict_at_statements(2);
    add(&engine, 1, &mut attempts).await?;
    ensure!(attempts == 3, "{attempts}");
    place.double.conflict_at_commits(2);
    add(&engine, 2, &mut attempts).await?;
    ensure!(attempts == 6, "{attempts}");
    ensure!(count(&engine).await? == 2 && place.double.conflicted() == 4);
    // And not for ever.
    place.double.conflict_at_commits(usize::MAX);
    let options = TransactionOptions::new().retries(1);
    let ran_out: sqlx::Result<()> = engine
        .transaction_with(options, |_| Box::pin(async { Ok(()) }))
        .await;
    let error = ran_out.err().context("it cannot commit")?;
    ensure!(
        matches!(
            TransactionError::find(&error),
            Some(TransactionError::RetriesRanOut { attempts: 2, .. })
        ),
        "{error}"
    );
    engine.close_connection_pool().await;
    Ok(())
}

#[tokio::test]
async fn an_ambiguous_commit_is_told_and_not_run_again() -> anyhow::Result<()> {
    let Some(place) = Place::new().await? else {
        return Ok(());
    };
    let engine = place.started().await?;
    let mut attempts = 0;
    place.double.ambiguous_commits(1);
    let error = add(&engine, 1, &mut attempts)
        .await
        .err()
        .context("nobody knows")?;
    ensure!(
        matches!(
            TransactionError::find(&error),
            Some(TransactionError::OutcomeUnknown { .. })
        ),
        "{error}"
    );
    ensure!(error.to_string().contains("result is ambiguous"), "{error}");
    // It was written once, and the pool goes on.
    ensure!(attempts == 1 && count(&engine).await? == 1);
    engine.close_connection_pool().await;
    Ok(())
}

#[tokio::test]
async fn a_pool_outlives_the_drain_of_its_node() -> anyhow::Result<()> {
    let Some(place) = Place::new().await? else {
        return Ok(());
    };
    let engine = place.started().await?;
    place.double.drain().await?;
    place.database.no_session_left().await?;
    let url = place.double.url().replace("postgres://", "cockroachdb://");
    let settings = place
        .settings()
        .url(url)
        .engine("cockroach_late")
        .start_timeout(Duration::from_millis(300));
    let late: PgEngine = engine_finder_with(&settings)?;
    let refused = late
        .start_connection_pool()
        .await
        .err()
        .context("it drains")?;
    ensure!(
        refused.to_string().contains("the node is draining"),
        "{refused}"
    );
    place.double.undrain();
    // Connections that ended meanwhile are noticed at the latest by the statement that meets them.
    eventually("the pool has new connections", async || {
        count(&engine).await?;
        Ok(())
    })
    .await?;
    ensure!(count(&engine).await? == 0);
    engine.close_connection_pool().await;
    Ok(())
}

#[tokio::test]
async fn a_schema_change_is_part_of_its_transaction() -> anyhow::Result<()> {
    let Some(place) = Place::new().await? else {
        return Ok(());
    };
    let engine = place.started().await?;
    let mut transaction = engine.begin().await?;
    sqlx::query("INSERT INTO poolhouse_entry VALUES (1)")
        .execute(&mut transaction)
        .await?;
    sqlx::raw_sql("CREATE TABLE extra (id INT8 PRIMARY KEY)")
        .execute(&mut transaction)
        .await?;
    transaction.rollback().await?;
    ensure!(count(&engine).await? == 0);
    engine.close_connection_pool().await;
    Ok(())
}

/// Behind `postgres://` it is noticed too late for that.
#[tokio::test]
async fn tests_are_told_to_name_it() -> anyhow::Result<()> {
    let Some(place) = Place::new().await? else {
        return Ok(());
    };
    let settings = place.settings().engine("cockroach_tests");
    let engine: PgEngine = engine_finder_with(&settings)?;
    let error = engine.test_databases().await.err().context("not so")?;
    let said = error.to_string();
    ensure!(
        said.contains("CockroachDB answers") && said.contains("Begin the url with cockroachdb://"),
        "{said}"
    );
    Ok(())
}
