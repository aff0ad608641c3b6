//! Projects whose user may not connect to the database in which processes usually take their locks.

use std::process::Command;

use poolhouse_tests::{Kind, PrivateServer, Server, eventually};

use crate::minimal::{self, started};
use crate::restarts::{ask, passes, run_of};
use crate::scenarios::FATE;

/// A run of one project: its URL names this database.
fn run(server: &PrivateServer, database: &str, tests: &str) -> Command {
    let mut url = url::Url::parse(&minimal::url(server)).unwrap();
    url.set_path(database);
    let mut run = run_of(server, tests, 1);
    run.env(minimal::variable(server), url.as_str());
    run
}

/// The databases of tests that are leased.
async fn leased(server: &Server) -> Vec<String> {
    let leased = "SELECT datname::text FROM pg_database WHERE datname ~ '_lease_' ORDER BY 1";
    let rows = server.ask(&[leased.to_owned()]).await.unwrap();
    rows.into_iter().flatten().flatten().collect()
}

#[tokio::test]
async fn no_project_drops_the_databases_of_another() {
    let Some(builder) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = started(builder).await;
    for sql in [
        "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC",
        "CREATE DATABASE one OWNER app",
        "CREATE DATABASE two OWNER app",
    ] {
        ask(&server, sql).await;
    }
    let mut live = run(&server, "one", "scenarios::one");
    let mut live = live.env(FATE, "hang").spawn().unwrap();
    eventually("a test of one project has written", async || {
        let written = "SELECT datname::text FROM pg_stat_activity WHERE datname ~ '_lease_' AND query ~ 'count'";
        anyhow::ensure!(!ask(&server, written).await.is_empty());
        Ok(())
    })
    .await
    .unwrap();
    let in_use = leased(&server).await;
    assert_eq!(in_use.len(), 1, "{in_use:?}");
    // The run is slow enough that its reaper is done before its end.
    let mut other = run(&server, "two", "scenarios::");
    passes(&other.env(FATE, "slow").output().unwrap());
    let left = leased(&server).await;
    assert!(left.contains(&in_use[0]), "{in_use:?}, {left:?}");
    live.kill().unwrap();
    live.wait().unwrap();
    // The next run of the same project removes it.
    eventually("the database of the killed run is removed", async || {
        passes(
            &run(&server, "one", "scenarios::")
                .env(FATE, "slow")
                .output()?,
        );
        let left = leased(&server).await;
        anyhow::ensure!(!left.contains(&in_use[0]), "{left:?}");
        Ok(())
    })
    .await
    .unwrap();
}
