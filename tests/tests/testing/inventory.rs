//! Test databases on a server, listed and removed, and `POOLHOUSE_KEEP=all`.

use std::env;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use poolhouse::testing::{self, TestDatabaseState};
use poolhouse::{Backend, Engine, Settings, engine_finder_with};
use poolhouse_tests::{Kind, PrivateServer, Server, eventually};

use crate::scenarios::FATE;

/// A run of some tests against a server.
fn run(server: &Server, variable: &str, tests: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args([tests, "--test-threads=8"])
        .env(variable, &server.url)
        .env_remove("RUST_BACKTRACE")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn engine<DB: Backend>(server: &Server) -> Engine<DB> {
    let settings = Settings::new().engine("inventory").url(&server.url);
    engine_finder_with(&settings).unwrap()
}

/// The number of databases in a state.
async fn count<DB: Backend>(engine: &Engine<DB>, state: TestDatabaseState) -> usize {
    let all = testing::test_databases(engine).await.unwrap();
    all.iter()
        .filter(|database| database.state == state)
        .count()
}

/// Keeps the database of every test, replaces it in a later run, and removes all on request. A run that keeps none leaves kept
/// databases alone. `databases` lists the databases of tests and everything else made for them.
async fn kept<DB: Backend>(kind: Kind, variable: &str, tests: &str, databases: &str) {
    let Some(server) = PrivateServer::require(kind) else {
        return;
    };
    let server = server.start().await.unwrap();
    let engine: Engine<DB> = engine(&server);
    assert_eq!(testing::test_databases(&engine).await.unwrap(), []);
    let output = run(&server, variable, tests)
        .env("POOLHOUSE_KEEP", "all")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    let kept = count(&engine, TestDatabaseState::Kept).await;
    // libtest shows no output of a passed test, so the server is asked.
    assert!(kept > 0, "{said}");
    assert!(
        run(&server, variable, tests)
            .output()
            .unwrap()
            .status
            .success()
    );
    assert_eq!(count(&engine, TestDatabaseState::Kept).await, kept);
    assert!(count(&engine, TestDatabaseState::Template).await > 0);

    // The age of a database is known in seconds.
    let second = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    let begun = second();
    eventually("the second is over", async || {
        anyhow::ensure!(second() > begun);
        Ok(())
    })
    .await
    .unwrap();
    // The reaper works in the background of each run, which may end before it.
    assert!(
        run(&server, variable, tests)
            .env("POOLHOUSE_KEEP", "all")
            .output()
            .unwrap()
            .status
            .success()
    );
    eventually(
        "only the newest database of each test is kept",
        async || {
            let output = run(&server, variable, tests).output()?;
            anyhow::ensure!(output.status.success(), "{output:?}");
            let now = count(&engine, TestDatabaseState::Kept).await;
            anyhow::ensure!(now == kept, "{now} for {kept}");
            Ok(())
        },
    )
    .await
    .unwrap();

    // The server notices the end of a process after a while; until then, its databases are in use and stay.
    let mut removed = Vec::new();
    eventually("nothing is in use any more", async || {
        removed.extend(testing::remove_test_databases(&engine).await?);
        let left = testing::test_databases(&engine).await?;
        anyhow::ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
    .await
    .unwrap();
    assert!(removed.len() > kept, "{removed:?}");
    let left = server.ask(&[databases.to_owned()]).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
    // The next run begins on an empty server.
    assert!(
        run(&server, variable, tests)
            .output()
            .unwrap()
            .status
            .success()
    );
}

#[tokio::test]
async fn every_test_keeps_its_database_on_postgres() {
    kept::<sqlx::Postgres>(
        Kind::Postgres,
        "POOLHOUSE_TESTING_POSTGRES_URL",
        "scenarios::",
        "SELECT datname::text FROM pg_database WHERE datname ~ '^poolhouse_'",
    )
    .await;
}

#[tokio::test]
async fn every_test_keeps_its_database_on_mariadb() {
    kept::<sqlx::MySql>(
        Kind::MariaDb,
        "POOLHOUSE_TESTING_MYSQL_URL",
        "mysql::",
        "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE 'poolhouse\\_%'",
    )
    .await;
}

#[tokio::test]
async fn what_is_in_use_is_not_removed() {
    let Some(server) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = server.start().await.unwrap();
    let engine: Engine<sqlx::Postgres> = engine(&server);
    let mut live = run(&server, "POOLHOUSE_TESTING_POSTGRES_URL", "scenarios::")
        .env(FATE, "hang")
        .spawn()
        .unwrap();
    eventually("eight tests have a database", async || {
        let in_use = count(&engine, TestDatabaseState::InUse).await;
        anyhow::ensure!(in_use == 8, "{in_use} have one");
        Ok(())
    })
    .await
    .unwrap();
    let removed = testing::remove_test_databases(&engine).await.unwrap();
    let in_use = |removed: &[testing::TestDatabase]| {
        let states = removed.iter().map(|database| &database.state);
        states
            .filter(|state| **state == TestDatabaseState::InUse)
            .count()
    };
    assert_eq!(in_use(&removed), 0, "{removed:?}");
    assert_eq!(count(&engine, TestDatabaseState::InUse).await, 8);
    assert_eq!(count(&engine, TestDatabaseState::Template).await, 1);
    live.kill().unwrap();
    live.wait().unwrap();
    eventually(
        "the server has noticed the end of the process",
        async || {
            testing::remove_test_databases(&engine).await?;
            let left = testing::test_databases(&engine).await?;
            anyhow::ensure!(left.is_empty(), "{left:?}");
            Ok(())
        },
    )
    .await
    .unwrap();
}
