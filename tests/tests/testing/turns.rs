//! Databases and connections that a process keeps between its tests, and their release.

use std::collections::BTreeMap;
use std::env;
use std::process::{Child, Command};

use poolhouse::{PgEngine, with_pool};
use poolhouse_tests::{Kind, PrivateServer, Server, eventually, private_server::Builder};

use crate::minimal::started;
use crate::restarted::with_rollback::rolls_back;
use crate::restarts::{ask, passes, run_of};
use crate::scenarios::{COUNT, FATE, INSERT, meet_fate};

/// An odd number of tests, so that the last runs alone when two run at a time.
mod roll_back {
    use super::*;

    rolls_back!(one, PgEngine, "POOLHOUSE_TESTING_POSTGRES_URL");
    rolls_back!(two, PgEngine, "POOLHOUSE_TESTING_POSTGRES_URL");
    rolls_back!(three, PgEngine, "POOLHOUSE_TESTING_POSTGRES_URL");
    rolls_back!(four, PgEngine, "POOLHOUSE_TESTING_POSTGRES_URL");
    rolls_back!(five, PgEngine, "POOLHOUSE_TESTING_POSTGRES_URL");
}

mod under_two_urls {
    use super::*;

    const VARIABLE: &str = "POOLHOUSE_TESTING_POSTGRES_URL";

    fn other_url() -> String {
        let mut url = url::Url::parse(&env::var(VARIABLE).unwrap()).unwrap();
        url.query_pairs_mut()
            .append_pair("application_name", "other");
        url.into()
    }

    /// Two engines of one test with different URLs of one server.
    #[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL")]
    #[tokio::test]
    #[ignore = "the second URL is made from one that only its driver sets"]
    async fn both_count(
        db: PgEngine,
        #[pool(engine = "other", url = other_url(), migrations = false)] other: PgEngine,
    ) {
        for db in [db, other] {
            let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&db).await.unwrap();
            assert_eq!(one, 1);
        }
    }
}

/// A run of slow tests, in a process that runs several.
fn slow_run(server: &PrivateServer, tests: &str, threads: usize) -> Command {
    let mut run = run_of(server, tests, threads);
    run.env(FATE, "slow").env_remove("NEXTEST_EXECUTION_MODE");
    run
}

/// The number of connections to each database of tests, by the database's number.
fn connections(server: &Server) -> BTreeMap<String, usize> {
    let lines = server
        .log()
        .unwrap()
        .lines_with(&["connection authorized", "application_name=poolhouse-tests"])
        .unwrap();
    let mut connections = BTreeMap::new();
    for line in lines {
        if let Some((_, name)) = line.split_once("_lease_") {
            let number = name.split('_').next().unwrap_or_default();
            *connections.entry(number.to_owned()).or_default() += 1;
        }
    }
    connections
}

#[tokio::test]
async fn a_process_keeps_its_connections_while_no_other_waits() {
    let Some(builder) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = started(builder.setting("log_connections", "on")).await;
    passes(&slow_run(&server, "scenarios::", 1).output().unwrap());
    let connections = connections(&server);
    assert!(!connections.is_empty(), "no connection is in the log");
    assert!(
        connections.values().all(|connections| *connections == 1),
        "{connections:?}"
    );
}

/// A server with slots for one test at a time.
async fn narrow(builder: Builder) -> PrivateServer {
    // Half of the connections that are not reserved for superusers are slots, and a test takes at most all of them.
    started(builder.setting("max_connections", 11)).await
}

/// Starts a process that runs for some seconds, and waits for its first test.
async fn long_run(server: &PrivateServer, tests: &str) -> Child {
    let run = slow_run(server, tests, 1).spawn().unwrap();
    let begun = match server.kind {
        Kind::Postgres => "SELECT datname::text FROM pg_stat_activity WHERE datname ~ '_lease_'",
        Kind::MariaDb => {
            "SELECT CAST(db AS CHAR) FROM information_schema.processlist WHERE db LIKE 'poolhouse\\_%\\_db\\_%'"
        }
    };
    eventually("the first test has begun", async || {
        anyhow::ensure!(!ask(server, begun).await.is_empty(), "no test runs");
        Ok(())
    })
    .await
    .unwrap();
    run
}

/// One test of another process gets the slots of a process with many tests, and ends before that process does.
async fn gets_its_turn(kind: Kind, tests: &str) {
    let Some(builder) = PrivateServer::require(kind) else {
        return;
    };
    let server = narrow(builder).await;
    let mut long = long_run(&server, tests).await;
    passes(&run_of(&server, &format!("{tests}one"), 1).output().unwrap());
    let ended = long.try_wait().unwrap();
    passes(&long.wait_with_output().unwrap());
    assert!(ended.is_none(), "it had to wait for the end of the other");
}

#[tokio::test]
async fn a_process_that_waits_gets_its_turn_on_postgres() {
    gets_its_turn(Kind::Postgres, "scenarios::").await;
}

#[tokio::test]
async fn a_process_that_waits_gets_its_turn_on_mariadb() {
    gets_its_turn(Kind::MariaDb, "restarted::with_mariadb::").await;
}

/// With room for one of the engines, they share the slots.
#[tokio::test]
async fn a_test_with_two_urls_of_one_server_does_not_wait_for_itself() {
    let Some(builder) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = narrow(builder).await;
    let mut run = run_of(&server, "under_two_urls::", 1);
    let mut run = run.arg("--ignored").spawn().unwrap();
    let ended = eventually("the test ends", async || {
        anyhow::ensure!(run.try_wait()?.is_some(), "it waits");
        Ok(())
    })
    .await;
    let _ = run.kill();
    passes(&run.wait_with_output().unwrap());
    ended.unwrap();
}

/// The process is stopped, as in a debugger or after Ctrl-Z.
#[tokio::test]
async fn a_process_that_is_stopped_while_it_waits_stops_no_other() {
    let Some(builder) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = narrow(builder).await;
    let mut long = long_run(&server, "scenarios::").await;
    let of_leases = "SELECT pid::text FROM pg_stat_activity WHERE application_name = 'poolhouse' AND datname = 'postgres'";
    let of_long = ask(&server, of_leases).await.concat();
    let waits = run_of(&server, "scenarios::one", 1).spawn().unwrap();
    eventually("the other process is next", async || {
        let next = format!(
            "SELECT pid::text FROM pg_locks WHERE locktype = 'advisory' AND pid <> {of_long} \
             AND (classid::int8 << 32) | objid::int8 = hashtextextended('poolhouse_slots_next', 0)"
        );
        anyhow::ensure!(!ask(&server, &next).await.is_empty(), "it is not");
        Ok(())
    })
    .await
    .unwrap();
    signal("STOP", &waits);
    let ended = eventually("the first process ends", async || {
        anyhow::ensure!(long.try_wait()?.is_some(), "it runs");
        Ok(())
    })
    .await;
    signal("CONT", &waits);
    passes(&long.wait_with_output().unwrap());
    ended.unwrap();
    passes(&waits.wait_with_output().unwrap());
}

fn signal(name: &str, child: &Child) {
    let sent = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(child.id().to_string())
        .status()
        .unwrap();
    assert!(sent.success());
}

#[tokio::test]
async fn databases_of_tests_that_rolled_back_are_there_for_the_next_run() {
    let Some(builder) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = started(builder.setting("log_statement", "ddl")).await;
    let mut made = Vec::new();
    for _ in 0..3 {
        passes(&slow_run(&server, "turns::roll_back::", 2).output().unwrap());
        let clones = server
            .log()
            .unwrap()
            .lines_with(&["CREATE DATABASE", "_ready_"])
            .unwrap();
        made.push(clones.len());
        let dirty = "SELECT datname::text FROM pg_database WHERE datname ~ '_lease_' \
            AND shobj_description(oid, 'pg_database') IS NULL";
        let dirty = ask(&server, dirty).await;
        assert!(dirty.is_empty(), "{dirty:?}");
    }
    // The second run may make a spare clone.
    assert_eq!(made[1], made[2], "{made:?}");
}
