//! The specifics of Postgres.

use std::{fs, path::Path, process::Command};

use anyhow::Context;
use nix::sys::signal::Signal;
use sqlx::PgConnection;

use super::{Count, Demotion, Facts, Layout, SUPERUSER};
use crate::{binaries, children, private_server::Stop, question, question::Answers};

pub(super) struct Postgres;

/// Settings of every private server. A test's data ends with its server, so durability is off.
const SETTINGS: [(&str, &str); 12] = [
    ("listen_addresses", "127.0.0.1"),
    // A socket's path has at most 107 bytes, which a temporary folder can exceed.
    ("unix_socket_directories", ""),
    ("max_connections", "200"),
    ("shared_buffers", "32MB"),
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    // The log is evidence of every connect and disconnect.
    ("log_connections", "on"),
    ("log_disconnections", "on"),
    (
        "log_line_prefix",
        "%m [%p] user=%u database=%d application=%a ",
    ),
    ("log_statement", "none"),
    ("lc_messages", "C"),
];

impl Facts for Postgres {
    fn name(&self) -> &'static str {
        "Postgres"
    }

    fn url_variable(&self) -> &'static str {
        "POOLHOUSE_TEST_POSTGRES_URL"
    }

    fn log_variable(&self) -> &'static str {
        "POOLHOUSE_TEST_POSTGRES_LOG"
    }

    fn account(&self) -> &'static str {
        "postgres"
    }

    fn default_port(&self) -> u16 {
        5432
    }

    fn create(&self, data: &Path, password: &str) -> anyhow::Result<Command> {
        let secret = data.with_extension("secret");
        fs::write(&secret, password)
            .with_context(|| format!("cannot write {}", secret.display()))?;
        let mut command = Command::new(binaries::find_postgres("initdb")?);
        command
            .arg("--pgdata")
            .arg(data)
            .arg("--pwfile")
            .arg(secret)
            // SCRAM costs an unoptimised driver 70 ms of computing for each connection, and a password in clear text costs the
            // server 5 ms. Users whose password is stored for SCRAM still log in with SCRAM.
            .args(["--username", SUPERUSER, "--auth-host", "md5", "--auth-local", "reject"])
            .args(["--encoding", "UTF8", "--no-locale", "--no-sync"])
            // The smallest segments, because the folder is copied for each further server.
            .args(["--wal-segsize", "1"]);
        Ok(command)
    }

    // https://www.postgresql.org/docs/current/app-pgbasebackup.html
    fn copy(&self, url: &str, data: &Path) -> anyhow::Result<Option<Command>> {
        let mut command = Command::new(binaries::find_postgres("pg_basebackup")?);
        command
            .args([
                "--dbname",
                url,
                "--write-recovery-conf",
                "--wal-method=stream",
            ])
            .args(["--checkpoint=fast", "--no-sync", "--pgdata"])
            .arg(data);
        Ok(Some(command))
    }

    fn follow(&self, _: &Layout) -> Vec<String> {
        Vec::new()
    }

    fn received(&self) -> &'static str {
        "SELECT pg_last_wal_receive_lsn()"
    }

    // The server first applies what it has received: https://www.postgresql.org/docs/current/warm-standby-failover.html
    fn promote(&self, _: &[Option<String>]) -> Vec<String> {
        vec!["SELECT pg_promote()".into()]
    }

    // https://www.postgresql.org/docs/current/warm-standby.html#STANDBY-SERVER-OPERATION
    fn demotion(&self) -> Demotion {
        Demotion::File("standby.signal")
    }

    fn serve(&self, layout: &Layout, settings: &[(String, String)]) -> anyhow::Result<Command> {
        let mut command = children::ending_with_this_process(&binaries::find_postgres("postgres")?);
        command
            .arg("-D")
            .arg(layout.data())
            .args(["-p", &layout.port.to_string()]);
        for (name, value) in SETTINGS {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        for (name, value) in settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        Ok(command)
    }

    // https://www.postgresql.org/docs/current/server-shutdown.html
    fn signal(&self, stop: Stop) -> Signal {
        match stop {
            Stop::Orderly => Signal::SIGINT,
            // The same as a crash for every client, but without the shared memory that SIGKILL would leave.
            Stop::Crash => Signal::SIGQUIT,
        }
    }

    fn url(&self, layout: &Layout) -> String {
        format!(
            "postgres://{SUPERUSER}:{}@127.0.0.1:{}/postgres",
            layout.password, layout.port
        )
    }

    fn whose_data(&self) -> &'static str {
        "SHOW data_directory"
    }

    fn ask<'a>(&self, url: &'a str, statements: &'a [String]) -> Answers<'a> {
        Box::pin(question::ask::<PgConnection>(url, statements))
    }

    fn create_database(&self, name: &str, password: &str) -> Vec<String> {
        vec![
            format!("CREATE ROLE {name} LOGIN CREATEDB PASSWORD '{password}'"),
            format!("CREATE DATABASE {name} OWNER {name} TEMPLATE template0"),
        ]
    }

    fn clear_database(&self, name: &str) -> String {
        format!(
            "SELECT format('DROP DATABASE %I WITH (FORCE)', datname) FROM pg_database \
             WHERE pg_get_userbyid(datdba) = '{name}'"
        )
    }

    fn drop_database(&self, name: &str) -> Vec<String> {
        vec![format!("DROP ROLE IF EXISTS {name}")]
    }

    fn sessions(&self, name: &str) -> String {
        format!(
            "SELECT pid, application_name, coalesce(state, 'starting'), query FROM pg_stat_activity \
             WHERE usename = '{name}' AND backend_type = 'client backend' ORDER BY pid"
        )
    }

    fn end_session(&self, id: i64) -> String {
        format!("SELECT pg_terminate_backend({id})")
    }

    // https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-DATABASE-VIEW
    fn ended_uncleanly(&self, name: &str) -> Count {
        Count::Query(format!(
            "SELECT sessions_abandoned FROM pg_stat_database WHERE datname = '{name}'"
        ))
    }

    fn killed(&self, name: &str) -> Count {
        Count::Query(format!(
            "SELECT sessions_killed FROM pg_stat_database WHERE datname = '{name}'"
        ))
    }
}
