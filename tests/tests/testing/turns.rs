//! What a process keeps between its tests, and when it gives that up.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

use poolhouse::{PgEngine, with_pool};
use poolhouse_tests::{Kind, PrivateServer, Server, eventually, private_server::Builder};

use crate::minimal::{self, said, started};
use crate::scenarios::{COUNT, FATE, INSERT, meet_fate};

/// Tests that a driver runs in a process of their own.
macro_rules! roll_back {
    ($($name:ident)*) => {$(
        #[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", isolation = "rollback")]
        #[tokio::test]
        async fn $name(db: PgEngine) {
            sqlx::query(INSERT).execute(&db).await.unwrap();
            let rows: i64 = sqlx::query_scalar(COUNT).fetch_one(&db).await.unwrap();
            assert_eq!(rows, 1);
            meet_fate().await;
        }
    )*};
}

roll_back!(rolls_back_one rolls_back_two rolls_back_three rolls_back_four rolls_back_five rolls_back_six);

fn run(server: &Server, tests: &str, threads: usize) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .arg(tests)
        .arg(format!("--test-threads={threads}"))
        .env("POOLHOUSE_TESTING_POSTGRES_URL", minimal::url(server))
        .env_remove("RUST_BACKTRACE")
        .env_remove("NEXTEST_EXECUTION_MODE")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// How often each database of tests was connected to, by its number.
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
    // For longer than the turn of a process, which is a second.
    let output = run(&server, "scenarios::", 1)
        .env(FATE, "last")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let connections = connections(&server);
    assert!(!connections.is_empty(), "no connection is in the log");
    assert!(
        connections.values().all(|connections| *connections == 1),
        "{connections:?}"
    );
}

/// A server with slots for one test at a time.
fn narrow(builder: Builder) -> Builder {
    // Half of what is not reserved for superusers are slots, and a test wants no more than there are.
    builder.setting("max_connections", 11)
}

/// A process whose first test has begun, and that has some seconds to go.
async fn long_run(server: &Server) -> Child {
    let long = run(server, "scenarios::", 1)
        .env(FATE, "last")
        .spawn()
        .unwrap();
    eventually("the first test has begun", async || {
        let rows = server
            .ask(&["SELECT FROM pg_stat_activity WHERE datname ~ '_lease_'".to_owned()])
            .await?;
        anyhow::ensure!(!rows.is_empty(), "no test runs");
        Ok(())
    })
    .await
    .unwrap();
    long
}

#[tokio::test]
async fn a_process_that_waits_gets_its_turn() {
    let Some(builder) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = started(narrow(builder)).await;
    let mut long = long_run(&server).await;
    let output = run(&server, "scenarios::one", 1).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let ended = long.try_wait().unwrap();
    let output = long.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(ended.is_none(), "it had to wait for the end of the other");
}

/// Like one in a debugger, or after Ctrl-Z.
#[tokio::test]
async fn a_process_that_is_stopped_while_it_waits_stops_no_other() {
    let Some(builder) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = started(narrow(builder)).await;
    let mut long = long_run(&server).await;
    let of_long = server
        .ask(&["SELECT pid::text FROM pg_stat_activity WHERE application_name = 'poolhouse' AND datname = 'postgres'".to_owned()])
        .await
        .unwrap();
    let of_long: String = of_long.into_iter().flatten().flatten().collect();
    let waits = run(&server, "scenarios::one", 1).spawn().unwrap();
    eventually("the other process is next", async || {
        let next = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND (classid::int8 << 32) | objid::int8 = \
            hashtextextended('poolhouse_slots_next', 0)";
        let next = server.ask(&[format!("{next} AND pid <> {of_long}")]).await?;
        anyhow::ensure!(!next.is_empty(), "it is not");
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
    let output = long.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    ended.unwrap();
    let output = waits.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
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
        let output = run(&server, "turns::rolls_back", 2)
            .env(FATE, "last")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", said(&output));
        let clones = server
            .log()
            .unwrap()
            .lines_with(&["CREATE DATABASE", "_ready_"])
            .unwrap();
        made.push(clones.len());
        let dirty = "SELECT datname::text FROM pg_database WHERE datname ~ '_lease_' \
            AND shobj_description(oid, 'pg_database') IS NULL";
        let dirty = server.ask(&[dirty.to_owned()]).await.unwrap();
        assert!(dirty.is_empty(), "{dirty:?}");
    }
    // A spare one may be made in the second run.
    assert_eq!(made[1], made[2], "{made:?}");
}
