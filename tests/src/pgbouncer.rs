//! A pooler between a program and Postgres.

use std::{fmt::Write, fs, net::SocketAddr};

use anyhow::Context;
use nix::sys::signal::Signal;
use sqlx::PgConnection;
use tempfile::TempDir;

use crate::{
    TestDatabase,
    account::Account,
    binaries,
    children::{self, Process},
    database::random,
    private_server::free_port,
    question, servers,
};

/// The time at which a client returns its server connection.
/// <https://www.pgbouncer.org/features.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// When it disconnects.
    Session,
    /// When its transaction ends.
    Transaction,
    /// When its statement ends. Transactions are refused.
    Statement,
}

/// A pgbouncer in front of one database. It ends with this value, and with the test's process.
#[derive(Debug)]
pub struct PgBouncer {
    address: SocketAddr,
    url: String,
    console: String,
    // Above the folder: fields are dropped in this order.
    _process: Process,
    folder: TempDir,
}

/// The user of the console, which no test's database has.
const OPERATOR: &str = "operator";

impl PgBouncer {
    /// Starts a pgbouncer that accepts the user of `database`. `settings` are lines of its
    /// configuration, such as `("default_pool_size", "5")`, and override the defaults.
    ///
    /// # Errors
    /// When the program is missing or does not start.
    pub async fn start(
        database: &TestDatabase,
        mode: Mode,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        Self::start_before(database, database.address()?, mode, settings).await
    }

    /// As [`start`](Self::start), with the database's server at another address, such as that of a proxy.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn start_before(
        database: &TestDatabase,
        server: SocketAddr,
        mode: Mode,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let program = binaries::find("pgbouncer", "pgbouncer")?;
        let account = Account::unprivileged("postgres")?;
        let folder = account.folder("pgbouncer-", &servers::folder())?;
        let file = |name: &str| folder.path().join(name);
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let password = random();

        fs::write(
            file("users"),
            format!(
                "\"{}\" \"{}\"\n\"{OPERATOR}\" \"{password}\"\n",
                database.name(),
                database.password()
            ),
        )?;
        let mut configuration = format!(
            "[databases]\n* = host={} port={}\n\n\
             [pgbouncer]\nlisten_addr = {}\nlisten_port = {}\nunix_socket_dir =\n\
             auth_type = md5\nauth_file = {}\nadmin_users = {OPERATOR}\n\
             pool_mode = {}\n\
             ; the drivers' start-up packets carry this, and pgbouncer refuses what it does not know\n\
             ignore_startup_parameters = extra_float_digits\n",
            server.ip(),
            server.port(),
            address.ip(),
            address.port(),
            file("users").display(),
            match mode {
                Mode::Session => "session",
                Mode::Transaction => "transaction",
                Mode::Statement => "statement",
            },
        );
        for (name, value) in settings {
            writeln!(configuration, "{name} = {value}")?;
        }
        fs::write(file("pgbouncer.ini"), configuration)?;

        let mut command = children::ending_with_this_process(&program);
        command.arg(file("pgbouncer.ini"));
        let mut process = Process::start(
            command,
            account,
            folder.path(),
            &file("log"),
            Signal::SIGKILL,
        )?;
        let console = format!("postgres://{OPERATOR}:{password}@{address}/pgbouncer");
        let ready = process.ready(async || ask(&console, "SHOW VERSION").await.map(drop));
        ready.await.context("cannot start pgbouncer")?;
        Ok(Self {
            address,
            url: database.url_through(address),
            console,
            _process: process,
            folder,
        })
    }

    /// What it has logged.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.folder.path().join("log"))?)
    }

    /// The database's URL through this pooler.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address on which the pooler listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs a command of the console, such as `SHOW POOLS`, and returns the rows as text.
    /// <https://www.pgbouncer.org/usage.html#admin-console>
    ///
    /// # Errors
    /// When pgbouncer refuses the command.
    pub async fn ask(&self, command: &str) -> anyhow::Result<Vec<Vec<Option<String>>>> {
        ask(&self.console, command).await
    }
}

async fn ask(console: &str, command: &str) -> anyhow::Result<Vec<Vec<Option<String>>>> {
    question::ask::<PgConnection>(console, &[command.to_owned()]).await
}
