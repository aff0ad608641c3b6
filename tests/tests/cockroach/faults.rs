//! Faults, on the stand-in.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, ensure};
use poolhouse::{PgEngine, TransactionError, TransactionOptions, engine_finder_with};
use poolhouse_tests::eventually;

use super::{Fixture, add, count, started};

#[tokio::test]
async fn conflicts_at_statements_and_at_commits_are_run_again() -> anyhow::Result<()> {
    let Some(fixture) = Fixture::new().await? else {
        return Ok(());
    };
    let engine = started(&fixture.settings()).await?;
    let attempts = AtomicU32::new(0);
    fixture.double.conflict_at_statements(2);
    add(&engine, 1, &attempts).await?;
    ensure!(attempts.load(Relaxed) == 3, "{attempts:?}");
    fixture.double.conflict_at_commits(2);
    add(&engine, 2, &attempts).await?;
    ensure!(attempts.load(Relaxed) == 6, "{attempts:?}");
    ensure!(count(&engine).await? == 2 && fixture.double.conflicted() == 4);
    // The retries are limited.
    fixture.double.conflict_at_commits(usize::MAX);
    let options = TransactionOptions::new().retries(1);
    let ran_out: sqlx::Result<()> = engine.transaction_with(options, async |_| Ok(())).await;
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
async fn an_ambiguous_commit_is_reported_and_not_run_again() -> anyhow::Result<()> {
    let Some(fixture) = Fixture::new().await? else {
        return Ok(());
    };
    let engine = started(&fixture.settings()).await?;
    let attempts = AtomicU32::new(0);
    fixture.double.ambiguous_commits(1);
    let error = add(&engine, 1, &attempts)
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
    let error = format!("{:#}", anyhow::Error::from(error));
    ensure!(error.contains("result is ambiguous"), "{error}");
    // The row was written once, and the pool still works.
    ensure!(attempts.load(Relaxed) == 1 && count(&engine).await? == 1);
    engine.close_connection_pool().await;
    Ok(())
}

#[tokio::test]
async fn a_pool_outlives_the_drain_of_its_node() -> anyhow::Result<()> {
    let Some(fixture) = Fixture::new().await? else {
        return Ok(());
    };
    let engine = started(&fixture.settings()).await?;
    fixture.double.drain().await?;
    fixture.database.no_session_left().await?;
    let url = fixture
        .double
        .url()
        .replace("postgres://", "cockroachdb://");
    let settings = fixture
        .settings()
        .url(url)
        .engine("cockroach_late")
        .start_timeout(Duration::from_secs(3));
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
    fixture.double.undrain();
    // The pool notices an ended connection at the latest when a statement uses it.
    eventually("the pool has new connections", async || {
        count(&engine).await?;
        Ok(())
    })
    .await?;
    ensure!(count(&engine).await? == 0);
    engine.close_connection_pool().await;
    Ok(())
}

/// With a `postgres://` URL, CockroachDB is recognised too late for isolated tests.
#[tokio::test]
async fn tests_are_asked_to_name_it() -> anyhow::Result<()> {
    let Some(fixture) = Fixture::new().await? else {
        return Ok(());
    };
    let settings = fixture.settings().engine("cockroach_tests");
    let engine: PgEngine = engine_finder_with(&settings)?;
    let error = poolhouse::testing::test_databases(&engine)
        .await
        .err()
        .context("not so")?;
    let said = error.to_string();
    ensure!(
        said.contains("CockroachDB answers") && said.contains("Begin the url with cockroachdb://"),
        "{said}"
    );
    Ok(())
}
