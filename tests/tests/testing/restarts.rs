//! The next test finds no remains of a killed run, even if the server crashes, stops or loses its statistics.

use std::fs::File;
use std::process::{Child, Command, Output, Stdio};

use poolhouse_tests::{Kind, PrivateServer, Server, Stop, eventually};
use tempfile::TempDir;

use crate::minimal::{self, said, started};
use crate::scenarios::{ASK_AGAIN, FATE, MIGRATIONS};

/// A run of the scenarios on Postgres, on this many threads.
fn run(server: &PrivateServer, threads: usize) -> Command {
    run_of(server, "scenarios::", threads)
}

/// A run of some tests.
pub(crate) fn run_of(server: &PrivateServer, tests: &str, threads: usize) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .arg(tests)
        .arg(format!("--test-threads={threads}"))
        .env(minimal::variable(server), minimal::url(server))
        .env_remove("RUST_BACKTRACE")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Migrations that make the table of the scenarios, and more.
fn band_and(more: &str) -> TempDir {
    let migrations = tempfile::tempdir().unwrap();
    let band = "CREATE TABLE band (id integer PRIMARY KEY, name text NOT NULL)";
    let file = migrations.path().join("0001_band.sql");
    std::fs::write(file, format!("{band}; {more}")).unwrap();
    migrations
}

#[track_caller]
pub(crate) fn passes(output: &Output) {
    assert!(output.status.success(), "{}", said(output));
}

pub(crate) async fn ask(server: &PrivateServer, sql: &str) -> Vec<String> {
    let rows = server.ask(&[sql.to_owned()]).await.unwrap();
    rows.into_iter().flatten().flatten().collect()
}

/// A database of the server, for queries.
fn database(server: &PrivateServer, name: &str) -> Server {
    let mut url = url::Url::parse(&server.url).unwrap();
    url.set_path(name);
    Server {
        url: url.into(),
        ..Server::clone(server)
    }
}

/// Starts a run, and waits until eight bodies have written.
async fn written(server: &PrivateServer) -> Child {
    let live = run(server, 8).env(FATE, "hang").spawn().unwrap();
    eventually("eight tests have written", async || {
        let names = ask(server, "SELECT DISTINCT datname::text FROM pg_stat_activity WHERE datname ~ '_lease_' AND query ~ 'count'").await;
        anyhow::ensure!(names.len() == 8, "{names:?}");
        Ok(())
    })
    .await
    .unwrap();
    live
}

/// Waits until no session of an ended run is left. The server may still be dropping a database.
async fn sessions_have_ended(server: &PrivateServer) {
    eventually("no session of the run is left", async || {
        let sessions = "SELECT pid::text FROM pg_stat_activity WHERE usename = 'app'";
        let sessions = ask(server, sessions).await;
        anyhow::ensure!(sessions.is_empty(), "{sessions:?}");
        Ok(())
    })
    .await
    .unwrap();
}

fn kill(mut live: Child) {
    live.kill().unwrap();
    live.wait().unwrap();
}

#[tokio::test]
async fn what_a_killed_run_wrote_is_not_found_after_a_crash() {
    let Some(builder) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let mut server = started(builder).await;
    for stop in [Stop::Crash, Stop::Orderly, Stop::Crash] {
        kill(written(&server).await);
        server.stop(stop).await.unwrap();
        server.start().await.unwrap();
        for _ in 0..2 {
            passes(&run(&server, 8).output().unwrap());
        }
    }
}

/// After a crash, a sequence may continue up to 32 values later:
/// <https://www.postgresql.org/docs/current/functions-sequence.html>.
#[tokio::test]
async fn after_a_crash_a_sequence_is_where_the_migrations_left_it() {
    let Some(builder) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let migrations = band_and("CREATE SEQUENCE ticket; SELECT nextval('ticket');");
    let mut server = started(builder).await;
    for _ in 0..2 {
        let mut run = run(&server, 2);
        passes(&run.env(MIGRATIONS, migrations.path()).output().unwrap());
        sessions_have_ended(&server).await;
        let names = ask(
            &server,
            "SELECT datname::text FROM pg_database WHERE datname ~ '^poolhouse_' AND datallowconn",
        );
        let names = names.await;
        assert!(!names.is_empty());
        for name in names {
            let last = ["SELECT last_value::text FROM ticket".to_owned()];
            let last = database(&server, &name).ask(&last).await.unwrap();
            assert_eq!(last, [[Some("1".to_owned())]], "{name}");
        }
        server.stop(Stop::Crash).await.unwrap();
        server.start().await.unwrap();
    }
}

/// A crash empties unlogged tables, also those of a template: <https://www.postgresql.org/docs/current/sql-createtable.html>.
/// The run finds its template before the crash and clones it again afterwards. Its tests fail if that table is empty.
#[tokio::test]
async fn a_run_that_has_found_its_template_looks_for_it_again_after_a_crash() {
    let Some(builder) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let migrations = band_and(
        "CREATE UNLOGGED TABLE draft AS SELECT 1 AS id;
         CREATE FUNCTION needs_a_draft() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN IF NOT EXISTS (SELECT FROM draft) THEN RAISE 'draft is empty'; END IF; RETURN NEW; END $$;
         CREATE TRIGGER needs_a_draft BEFORE INSERT ON band FOR EACH ROW EXECUTE FUNCTION needs_a_draft();",
    );
    let mut server = started(builder).await;
    let signs = tempfile::tempdir().unwrap();
    let mut run = run(&server, 1);
    let run = run
        .env(MIGRATIONS, migrations.path())
        .env(FATE, format!("pause {}", signs.path().display()));
    let run = run.spawn().unwrap();
    // A spare clone that the crash interrupts would make the run look for its template for another reason.
    eventually(
        "the first test is in its body, with a spare clone beside",
        async || {
            anyhow::ensure!(signs.path().join("begun").exists());
            let spare = "SELECT datname::text FROM pg_database WHERE datname ~ '_ready_'";
            anyhow::ensure!(!ask(&server, spare).await.is_empty());
            Ok(())
        },
    )
    .await
    .unwrap();
    server.stop(Stop::Crash).await.unwrap();
    server.start().await.unwrap();
    File::create_new(signs.path().join("go_on")).unwrap();
    passes(&run.wait_with_output().unwrap());
}

/// The error of the test.
const ANEW: &str = "the server was started anew while the test had its database";

/// A connection that is opened after a restart is refused: the database may have lost data of the test, and its lease may have
/// gone to another process.
async fn a_test_does_not_go_on(kind: Kind, tests: &str, words: &str) {
    let Some(builder) = PrivateServer::require(kind) else {
        return;
    };
    let mut server = started(builder).await;
    for stop in [Stop::Crash, Stop::Orderly] {
        let signs = tempfile::tempdir().unwrap();
        let mut run = run_of(&server, tests, 1);
        let run = run
            .env(FATE, format!("pause {}", signs.path().display()))
            .env(ASK_AGAIN, "");
        let run = run.spawn().unwrap();
        eventually("the first test is in its body", async || {
            anyhow::ensure!(signs.path().join("begun").exists());
            Ok(())
        })
        .await
        .unwrap();
        server.stop(stop).await.unwrap();
        server.start().await.unwrap();
        File::create_new(signs.path().join("go_on")).unwrap();
        let output = run.wait_with_output().unwrap();
        let said = said(&output);
        assert!(said.contains(words), "{said}");
        assert!(said.contains("; 1 failed;"), "{said}");
    }
}

#[tokio::test]
async fn a_test_on_postgres_does_not_go_on_after_a_restart() {
    a_test_does_not_go_on(Kind::Postgres, "scenarios::one", ANEW).await;
}

#[tokio::test]
async fn a_test_with_a_pool_of_sqlx_does_not_go_on_after_a_restart() {
    // sqlx's pool tries again until its limit, and logs why.
    let words = "refused: pool timed out";
    a_test_does_not_go_on(Kind::Postgres, "with_pools_of_sqlx::", words).await;
}

#[tokio::test]
async fn a_test_on_mariadb_does_not_go_on_after_a_restart() {
    a_test_does_not_go_on(Kind::MariaDb, "with_mariadb::", ANEW).await;
}

/// A server that ends idle sessions does not end the session of the leases. Otherwise other runs would take databases in use
/// for remains.
async fn a_test_keeps_its_database(kind: Kind, setting: (&str, &str), tests: &str, idle: &str) {
    let Some(builder) = PrivateServer::require(kind) else {
        return;
    };
    let server = started(builder.setting(setting.0, setting.1)).await;
    let signs = tempfile::tempdir().unwrap();
    let mut live = run_of(&server, tests, 1);
    let live = live
        .env(FATE, format!("pause {}", signs.path().display()))
        .env(ASK_AGAIN, "");
    let live = live.spawn().unwrap();
    eventually("the session of a test was ended", async || {
        anyhow::ensure!(signs.path().join("begun").exists());
        let sessions = server.ask(&[idle.to_owned()]).await?;
        anyhow::ensure!(sessions.is_empty(), "{sessions:?}");
        Ok(())
    })
    .await
    .unwrap();
    for _ in 0..3 {
        passes(&run_of(&server, tests, 1).output().unwrap());
    }
    File::create_new(signs.path().join("go_on")).unwrap();
    passes(&live.wait_with_output().unwrap());
}

#[tokio::test]
async fn a_test_on_postgres_keeps_its_database_where_idle_sessions_end() {
    a_test_keeps_its_database(
        Kind::Postgres,
        ("idle_session_timeout", "3s"),
        "scenarios::one",
        "SELECT pid::text FROM pg_stat_activity WHERE datname ~ '_lease_'",
    )
    .await;
}

#[tokio::test]
async fn a_test_on_mariadb_keeps_its_database_where_idle_sessions_end() {
    a_test_keeps_its_database(
        Kind::MariaDb,
        ("wait-timeout", "1"),
        "with_mariadb::one",
        "SELECT CAST(id AS CHAR) FROM information_schema.processlist WHERE db LIKE 'poolhouse\\_%'",
    )
    .await;
}

/// A start of MariaDB empties tables of the engine MEMORY, also those of a template:
/// <https://mariadb.com/kb/en/memory-storage-engine/>.
#[tokio::test]
async fn a_template_on_mariadb_is_made_again_after_a_restart() {
    let Some(builder) = PrivateServer::require(Kind::MariaDb) else {
        return;
    };
    let migrations = band_and(
        "CREATE TABLE draft (id INTEGER) ENGINE = MEMORY; INSERT INTO draft VALUES (1);
         CREATE TRIGGER needs_a_draft BEFORE INSERT ON band FOR EACH ROW IF NOT EXISTS (SELECT 1 FROM draft) THEN
         SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'draft is empty'; END IF;",
    );
    let mut server = started(builder).await;
    for stop in [Stop::Orderly, Stop::Crash] {
        for _ in 0..2 {
            let mut run = run_of(&server, "with_mariadb::", 2);
            passes(&run.env(MIGRATIONS, migrations.path()).output().unwrap());
        }
        server.stop(stop).await.unwrap();
        server.start().await.unwrap();
    }
    let mut run = run_of(&server, "with_mariadb::", 2);
    passes(&run.env(MIGRATIONS, migrations.path()).output().unwrap());
}

#[tokio::test]
async fn what_a_killed_run_wrote_is_not_found_without_statistics() {
    let Some(builder) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = started(builder).await;
    for _ in 0..2 {
        kill(written(&server).await);
        sessions_have_ended(&server).await;
        let used = ask(
            &server,
            "SELECT datname::text FROM pg_database WHERE datname ~ '_(lease|ready)_'",
        );
        let used = used.await;
        assert!(used.len() >= 8, "{used:?}");
        for name in used {
            let reset = ["SELECT pg_stat_reset()::text".to_owned()];
            database(&server, &name).ask(&reset).await.unwrap();
        }
        for _ in 0..2 {
            passes(&run(&server, 8).output().unwrap());
        }
    }
}

/// The process keeps databases and connections from one test to the next.
#[tokio::test]
async fn a_server_may_stop_between_two_tests_of_a_process() {
    let Some(builder) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let mut server = started(builder).await;
    for stop in [Stop::Crash, Stop::Orderly] {
        let folder = tempfile::tempdir().unwrap();
        let fate = format!("pause {}", folder.path().display());
        let live = run(&server, 1).env(FATE, fate).spawn().unwrap();
        eventually("the first test is in its body", async || {
            anyhow::ensure!(folder.path().join("begun").exists(), "it is not");
            Ok(())
        })
        .await
        .unwrap();
        server.stop(stop).await.unwrap();
        server.start().await.unwrap();
        File::create(folder.path().join("go_on")).unwrap();
        passes(&live.wait_with_output().unwrap());
        passes(&run(&server, 8).output().unwrap());
    }
}
