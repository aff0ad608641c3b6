//! The documented rights are enough, and the errors name each missing one.

use std::env;
use std::process::{Command, Output};

use poolhouse_tests::private_server::{Builder, Stop};
use poolhouse_tests::{Kind, PrivateServer, Server, eventually};
use url::Url;

use crate::scenarios::FATE;

/// The user of the tests, on servers that a driver has started.
const USER: &str = "app";
const PASSWORD: &str = "secret-of-app";

/// Starts a server with a user that has the documented rights and nothing else.
pub(crate) async fn started(builder: Builder) -> PrivateServer {
    let server = builder.start().await.unwrap();
    allow(&server, true).await;
    server
}

/// Makes the user, with the documented rights or without any.
async fn allow(server: &Server, rights: bool) {
    let statements: &[String] = &match server.kind {
        Kind::Postgres => {
            let createdb = if rights { "CREATEDB" } else { "NOCREATEDB" };
            vec![format!(
                "CREATE ROLE {USER} LOGIN {createdb} PASSWORD '{PASSWORD}'"
            )]
        }
        Kind::MariaDb => {
            let mut all = vec![format!("CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}'")];
            if rights {
                all.push(format!("GRANT ALL ON `poolhouse\\_%`.* TO {USER}@'%'"));
            }
            all
        }
    };
    for statement in statements {
        server.ask(std::slice::from_ref(statement)).await.unwrap();
    }
}

/// The URL of that user.
pub(crate) fn url(server: &Server) -> String {
    let mut url = Url::parse(&server.url).unwrap();
    url.set_username(USER).unwrap();
    url.set_password(Some(PASSWORD)).unwrap();
    if server.kind == Kind::MariaDb {
        url.set_path("");
    }
    url.into()
}

/// The variable with the URL of the tests' server.
pub(crate) fn variable(server: &Server) -> &'static str {
    match server.kind {
        Kind::Postgres => "POOLHOUSE_TESTING_POSTGRES_URL",
        Kind::MariaDb => "POOLHOUSE_TESTING_MYSQL_URL",
    }
}

/// A run of tests on a server as that user.
fn run(server: &Server, tests: &str) -> Output {
    command(server, tests).output().unwrap()
}

fn command(server: &Server, tests: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args([tests, "--test-threads=4"])
        // These are drivers, which start their own servers.
        .args(["--skip=most_tests", "--skip=a_changed_schema"])
        .env(variable(server), url(server))
        .env_remove("RUST_BACKTRACE");
    command
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// With the rights, all tests pass twice. Without them, the error names the missing right and its grant, and nothing is left.
async fn rights(kind: Kind, modules: &[&str], missing: &str, grant: &str, databases: &str) {
    let Some(builder) = PrivateServer::require(kind) else {
        return;
    };
    let server = started(builder).await;
    for tests in modules.iter().chain(modules) {
        let output = run(&server, tests);
        assert!(output.status.success(), "{tests}: {}", said(&output));
    }
    let Some(builder) = PrivateServer::require(kind) else {
        return;
    };
    let server = builder.start().await.unwrap();
    allow(&server, false).await;
    let output = run(&server, modules[0]);
    let said = said(&output);
    assert!(!output.status.success(), "{said}");
    for words in [missing, grant] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
    for words in [" line ", PASSWORD, "CREATE DATABASE"] {
        assert!(!said.contains(words), "{words:?} is in {said}");
    }
    let left = server.ask(&[databases.to_owned()]).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn on_postgres_createdb_is_enough() {
    rights(
        Kind::Postgres,
        &["postgres::", "handed_on::", "rollback::one_"],
        "the role app may not create databases",
        "ALTER ROLE app CREATEDB",
        "SELECT datname::text FROM pg_database WHERE datname ~ '^poolhouse_'",
    )
    .await;
}

#[tokio::test]
async fn on_mariadb_the_databases_of_tests_are_enough() {
    rights(
        Kind::MariaDb,
        &["mysql::", "used_again::"],
        "the user 'app'@'%' has no right to make and use databases whose names begin with poolhouse_",
        "GRANT ALL ON `poolhouse\\_%`.* TO 'app'@'%'",
        "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE 'poolhouse\\_%'",
    )
    .await;
}

/// The server shows a schema in a form that depends on the server's settings.
#[tokio::test]
async fn on_mariadb_settings_of_the_server_do_not_matter() {
    let Some(builder) = PrivateServer::require(Kind::MariaDb) else {
        return;
    };
    let builder = builder
        .setting("sql-mode", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES")
        .setting("group-concat-max-len", 64)
        .setting("lower-case-table-names", 1)
        .setting("transaction-isolation", "READ-UNCOMMITTED");
    let server = started(builder).await;
    for _ in 0..2 {
        passes(&run(&server, "with_mariadb::"));
    }
    assert!(!ready(&server).await.is_empty());
}

/// Some providers allow `InnoDB` alone: <https://mariadb.com/kb/en/server-system-variables/#enforce_storage_engine>.
#[tokio::test]
async fn on_mariadb_a_server_may_have_no_tables_in_memory() {
    let Some(builder) = PrivateServer::require(Kind::MariaDb) else {
        return;
    };
    let mut server = started(builder.setting("enforce-storage-engine", "InnoDB")).await;
    passes(&run(&server, "with_mariadb::one"));
    let before = ready(&server).await;
    assert!(!before.is_empty());
    server.restart(Stop::Orderly).await.unwrap();
    // The clones of before are still marked as ready.
    assert_eq!(ready(&server).await, before);
    // The reaper works in the background of each run, which may end before it.
    eventually("the databases of before are removed", async || {
        passes(&run(&server, "with_mariadb::one"));
        let now = ready(&server).await;
        let left = before.iter().filter(|name| now.contains(name)).count();
        anyhow::ensure!(!now.is_empty() && left == 0, "{before:?}, {now:?}");
        Ok(())
    })
    .await
    .unwrap();
}

fn passes(output: &Output) {
    assert!(output.status.success(), "{}", said(output));
}

/// The names of the ready clones.
async fn ready(server: &Server) -> Vec<String> {
    let ready =
        "SELECT database_name FROM poolhouse_marks.complete WHERE database_name LIKE '%\\_db\\_%'";
    let ready = server.ask(&[ready.to_owned()]).await.unwrap();
    ready.into_iter().flatten().flatten().collect()
}

/// Tests take turns if together they need more connections than their user may have.
async fn take_turns(kind: Kind, limit: &str, tests: &str) {
    let Some(builder) = PrivateServer::require(kind) else {
        return;
    };
    let server = started(builder).await;
    server.ask(&[limit.to_owned()]).await.unwrap();
    let output = command(&server, tests).env(FATE, "crowd").output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[tokio::test]
async fn on_postgres_the_limit_of_the_role_is_kept() {
    let limit = format!("ALTER ROLE {USER} CONNECTION LIMIT 12");
    take_turns(Kind::Postgres, &limit, "scenarios::").await;
}

#[tokio::test]
async fn on_mariadb_the_limit_of_the_user_is_kept() {
    let limit = format!("GRANT USAGE ON *.* TO {USER}@'%' WITH MAX_USER_CONNECTIONS 12");
    take_turns(Kind::MariaDb, &limit, "with_mariadb::").await;
}

/// The server does not copy templates for another role than their owner, even if the role has the owner's former name.
#[tokio::test]
async fn on_postgres_the_role_may_be_made_anew() {
    let Some(builder) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = started(builder).await;
    passes(&run(&server, "scenarios::one"));
    let of_tests =
        "SELECT datname::text, datallowconn::text FROM pg_database WHERE datname ~ '^poolhouse_'";
    let ask = async |server: &Server, sql: String| server.ask(&[sql]).await.unwrap();
    // A clone that the run was making is complete, or gone, once the run's last session is.
    let sessions = format!("SELECT pid::text FROM pg_stat_activity WHERE usename = '{USER}'");
    eventually("the run's sessions are over", async || {
        anyhow::ensure!(
            server
                .ask(std::slice::from_ref(&sessions))
                .await?
                .is_empty()
        );
        Ok(())
    })
    .await
    .unwrap();
    let mut templates = 0;
    for row in ask(&server, of_tests.to_owned()).await {
        let [Some(name), Some(is_clone)] = row.as_slice() else {
            panic!("{row:?}");
        };
        if is_clone == "true" {
            ask(&server, format!("DROP DATABASE {name} WITH (FORCE)")).await;
            continue;
        }
        templates += 1;
        let allow = |allow: bool| format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {allow}");
        ask(&server, allow(true)).await;
        let mut url = Url::parse(&server.url).unwrap();
        url.set_path(name);
        let inside = Server {
            url: url.into(),
            ..Server::clone(&server)
        };
        for sql in [
            format!("REASSIGN OWNED BY {USER} TO CURRENT_USER"),
            format!("DROP OWNED BY {USER}"),
        ] {
            ask(&inside, sql).await;
        }
        ask(&server, allow(false)).await;
    }
    assert_eq!(templates, 1);
    ask(&server, format!("DROP ROLE {USER}")).await;
    allow(&server, true).await;
    passes(&run(&server, "scenarios::one"));
}

#[tokio::test]
async fn on_postgres_databases_of_a_role_with_any_name_are_used_again() {
    let Some(builder) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = builder
        .setting("log_statement", "ddl")
        .start()
        .await
        .unwrap();
    let role = format!(r#"CREATE ROLE "App of tests" LOGIN CREATEDB PASSWORD '{PASSWORD}'"#);
    server.ask(&[role]).await.unwrap();
    let mut of_role = Url::parse(&url(&server)).unwrap();
    of_role.set_username("App of tests").unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["scenarios::", "--test-threads=1"])
        .env(variable(&server), of_role.as_str())
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap();
    passes(&output);
    assert!(said(&output).contains("ok. 8 passed"), "{}", said(&output));
    let log = server.log().unwrap();
    let copies = log.lines_with(&["CREATE DATABASE", "TEMPLATE"]).unwrap();
    // Eight tests use two or three in turn. Without another use, each would have one.
    assert!(copies.len() <= 6, "{copies:?}");
}

/// The server's limit for idle transactions does not end the one that a connection is held in.
async fn stays_idle(builder: Builder, tests: &str) {
    let server = started(builder).await;
    let output = command(&server, tests).env(FATE, "idle").output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[tokio::test]
async fn on_postgres_a_test_that_rolls_back_may_be_idle() {
    if let Some(builder) = PrivateServer::require(Kind::Postgres) {
        let builder = builder.setting("idle_in_transaction_session_timeout", "500ms");
        stays_idle(builder, "with_rollback::postgres").await;
    }
}

#[tokio::test]
async fn on_mariadb_a_test_that_rolls_back_may_be_idle() {
    if let Some(builder) = PrivateServer::require(Kind::MariaDb) {
        let builder = builder
            .setting("wait-timeout", 1)
            .setting("idle-transaction-timeout", 1);
        stays_idle(builder, "with_rollback::mariadb").await;
    }
}
