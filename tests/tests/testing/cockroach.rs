//! Test functions on the stand-in for CockroachDB: `scenarios` and `rollback`, in their own processes.

use std::env;
use std::fs;
use std::process::{Output, Stdio};

use anyhow::{Context, ensure};
use poolhouse::testing::{self, TestDatabaseState};
use poolhouse::{PgEngine, Settings, engine_finder_with};
use poolhouse_tests::private_server::Builder;
use poolhouse_tests::{Cockroach, Kind, PrivateServer, eventually};
use tokio::process::Command;

use crate::scenarios::{FATE, MIGRATIONS};

/// A server without other databases of tests, and the stand-in in front of it.
struct Fixture {
    server: PrivateServer,
    double: Cockroach,
}

impl Fixture {
    async fn new() -> anyhow::Result<Option<Self>> {
        let Some(server) = PrivateServer::require(Kind::Postgres) else {
            return Ok(None);
        };
        Self::on(server).await.map(Some)
    }

    /// On a server that ends sessions which are idle for this time.
    async fn impatient(limit: &str) -> anyhow::Result<Option<Self>> {
        let Some(server) = PrivateServer::require(Kind::Postgres) else {
            return Ok(None);
        };
        let server = server.setting("idle_session_timeout", limit);
        Self::on(server).await.map(Some)
    }

    async fn on(server: Builder) -> anyhow::Result<Self> {
        let server = server.start().await?;
        let database = server.database("cockroach").await?;
        Ok(Self {
            double: Cockroach::before(&database).await?,
            server,
        })
    }

    /// A run of some tests, which is killed when it is dropped.
    fn run(&self, tests: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(env::current_exe()?);
        command
            .args([tests, "--test-threads=4"])
            .env(
                "POOLHOUSE_TESTING_POSTGRES_URL",
                self.double.superuser_url()?,
            )
            .env_remove("RUST_BACKTRACE")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Ok(command)
    }

    async fn passes(&self, tests: &str) -> anyhow::Result<()> {
        let output = self.run(tests)?.output().await?;
        ensure!(output.status.success(), "{}", said(&output));
        Ok(())
    }

    /// The number of databases in a state.
    async fn count(&self, state: TestDatabaseState) -> anyhow::Result<usize> {
        let all = testing::test_databases(&self.engine()?).await?;
        Ok(all.iter().filter(|one| one.state == state).count())
    }

    fn engine(&self) -> anyhow::Result<PgEngine> {
        let settings = Settings::new()
            .engine("cockroach")
            .url(self.double.superuser_url()?);
        Ok(engine_finder_with(&settings)?)
    }
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .concat()
}

#[tokio::test]
async fn each_test_has_a_database_and_a_run_leaves_none() -> anyhow::Result<()> {
    let Some(fixture) = Fixture::new().await? else {
        return Ok(());
    };
    fixture.passes("scenarios::").await?;
    // The removal also drops a database whose drop was in progress at the end of the process.
    eventually("nothing is left", async || {
        testing::remove_test_databases(&fixture.engine()?).await?;
        let left = testing::test_databases(&fixture.engine()?).await?;
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_failed_test_keeps_its_database() -> anyhow::Result<()> {
    let Some(fixture) = Fixture::new().await? else {
        return Ok(());
    };
    let output = fixture
        .run("scenarios::")?
        .env(FATE, "fail")
        .output()
        .await?;
    let said = said(&output);
    ensure!(!output.status.success(), "{said}");
    ensure!(
        said.contains("its database is kept: cockroachdb://"),
        "{said}"
    );
    let kept = fixture.count(TestDatabaseState::Kept).await?;
    ensure!(kept == 8, "{kept}");
    // The next run does not remove kept databases; a person does.
    fixture.passes("scenarios::").await?;
    ensure!(fixture.count(TestDatabaseState::Kept).await? == 8);
    let removed = testing::remove_test_databases(&fixture.engine()?).await?;
    ensure!(removed.len() >= 8, "{removed:?}");
    Ok(())
}

#[tokio::test]
async fn what_a_killed_run_leaves_goes_with_the_next() -> anyhow::Result<()> {
    let Some(fixture) = Fixture::new().await? else {
        return Ok(());
    };
    let mut live = fixture.run("scenarios::")?.env(FATE, "hang").spawn()?;
    eventually("some tests have a database", async || {
        let in_use = fixture.count(TestDatabaseState::InUse).await?;
        ensure!(in_use >= 4, "{in_use} have one");
        Ok(())
    })
    .await?;
    // Databases of a live run are not removed.
    let removed = testing::remove_test_databases(&fixture.engine()?).await?;
    ensure!(removed.is_empty(), "{removed:?}");
    live.kill().await?;
    eventually("the cluster has noticed", async || {
        let in_use = fixture.count(TestDatabaseState::InUse).await?;
        ensure!(in_use == 0, "{in_use} are in use");
        Ok(())
    })
    .await?;
    let left = testing::test_databases(&fixture.engine()?).await?;
    ensure!(!left.is_empty());
    fixture.passes("scenarios::").await?;
    let now = testing::test_databases(&fixture.engine()?).await?;
    let still = left
        .iter()
        .find(|one| now.iter().any(|other| other.name == one.name));
    still
        .map_or(Ok(()), |one| Err(anyhow::anyhow!("{one:?} is still there")))
        .context("after the next run")
}

/// A database of another user stays, and one that cannot be dropped does not keep the others.
#[tokio::test]
async fn a_refused_drop_does_not_end_the_removal() -> anyhow::Result<()> {
    let Some(fixture) = Fixture::new().await? else {
        return Ok(());
    };
    // Of sessions that have ended.
    let [of_another, refused, left] =
        [1, 2, 3].map(|session: u8| format!("poolhouse_{session:032x}_0"));
    for sql in [
        "CREATE ROLE another".to_owned(),
        format!("CREATE DATABASE {of_another} OWNER another"),
        format!("CREATE DATABASE {refused} IS_TEMPLATE true"),
        format!("CREATE DATABASE {left}"),
    ] {
        fixture.server.ask(&[sql]).await?;
    }
    eventually("the last one is removed", async || {
        fixture.passes("scenarios::").await?;
        let list = "SELECT datname::text FROM pg_database WHERE datname ~ '^poolhouse_0+[123]_0$' ORDER BY 1";
        let there = fixture.server.ask(&[list.to_owned()]).await?;
        let there: Vec<String> = there.into_iter().flatten().flatten().collect();
        ensure!(there == [&*of_another, &*refused], "{there:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn tests_roll_back_in_a_database_that_they_share() -> anyhow::Result<()> {
    let Some(fixture) = Fixture::new().await? else {
        return Ok(());
    };
    // The tests of a process share one database. Rows that they commit by mistake reach no other process.
    fixture.passes("rollback::nothing_is_committed").await?;
    let left = testing::test_databases(&fixture.engine()?).await?;
    ensure!(left.len() == 1, "{left:?}");
    eventually("the database goes with a later run", async || {
        fixture
            .passes("rollback::a_transaction_is_a_savepoint")
            .await?;
        let now = testing::test_databases(&fixture.engine()?).await?;
        ensure!(!now.contains(&left[0]), "{now:?}");
        Ok(())
    })
    .await
}

/// As the other tests of the process would find its rows.
#[tokio::test]
async fn a_dropped_test_that_has_committed_uses_up_its_database() -> anyhow::Result<()> {
    let Some(fixture) = Fixture::new().await? else {
        return Ok(());
    };
    fixture
        .passes("rollback::a_dropped_test_that_has_committed")
        .await
}

/// Neither the next test nor the next run uses an incomplete database.
#[tokio::test]
async fn a_failing_migration_leaves_nothing_to_share() -> anyhow::Result<()> {
    let Some(fixture) = Fixture::new().await? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    fs::write(
        folder.path().join("1_band.sql"),
        "CREATE TABLE band (id INT8)",
    )?;
    fs::write(folder.path().join("2_broken.sql"), "CREATE TABEL member ()")?;
    for _ in 0..2 {
        let output = fixture
            .run("rollback::the_database_has_the_migrations")?
            .env(MIGRATIONS, folder.path())
            .output()
            .await?;
        let said = said(&output);
        ensure!(!output.status.success() && said.contains("TABEL"), "{said}");
    }
    eventually("nothing is left", async || {
        testing::remove_test_databases(&fixture.engine()?).await?;
        let left = testing::test_databases(&fixture.engine()?).await?;
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
    .await
}

/// The limit for idle sessions ends those of the tests' engines, and not the one that owns their databases.
#[tokio::test]
async fn databases_in_use_stay_when_idle_sessions_end() -> anyhow::Result<()> {
    let Some(fixture) = Fixture::impatient("1s").await? else {
        return Ok(());
    };
    let mut live = fixture.run("scenarios::")?.env(FATE, "hang").spawn()?;
    eventually("some tests have a database", async || {
        let in_use = fixture.count(TestDatabaseState::InUse).await?;
        ensure!(in_use >= 4, "{in_use} have one");
        Ok(())
    })
    .await?;
    eventually("the idle sessions of the tests end", async || {
        let log = fixture.server.log().context("no log")?;
        let ended = log.lines_with(&["idle-session timeout"])?;
        ensure!(ended.len() >= 4, "{ended:?}");
        Ok(())
    })
    .await?;
    ensure!(fixture.count(TestDatabaseState::Left).await? == 0);
    live.kill().await?;
    Ok(())
}

#[tokio::test]
async fn a_test_that_rolls_back_has_no_limit_for_idle_sessions() -> anyhow::Result<()> {
    // Long enough for the sessions that keep the limit.
    let Some(fixture) = Fixture::impatient("30s").await? else {
        return Ok(());
    };
    fixture.passes("rollback::a_session_has_no_limits").await
}
