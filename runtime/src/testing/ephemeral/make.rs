//! The kinds of server: their programs and arguments.

use std::path::{Path, PathBuf};
use std::process::Command;

use once_cell::sync::OnceCell;

#[cfg(feature = "mysql")]
use super::machine::find;
#[cfg(feature = "postgres")]
use super::machine::find_postgres;
use super::no_server::{NoServer, ServerUrl};

/// The default URL of a Postgres engine in a test. Its top-level domain never exists:
/// <https://www.rfc-editor.org/rfc/rfc2606#section-2>.
#[cfg(feature = "postgres")]
pub(in crate::testing) const POSTGRES_URL: &str = "postgres://ephemeral.invalid/postgres";

/// The default URL of a MySQL engine in a test.
#[cfg(feature = "mysql")]
pub(in crate::testing) const MYSQL_URL: &str = "mysql://ephemeral.invalid/mysql";

/// The user of a private server. It has only the rights that tests need, so that tests also pass on other servers.
const USER: &str = "poolhouse";

/// A program that works on the files in a folder.
type Program = fn(folder: &Path) -> Result<Command, NoServer>;

/// A kind of server.
pub(super) struct Make {
    pub(super) name: &'static str,
    /// The URL that stands for the private server.
    stands_for: &'static str,
    /// The account that the server's package makes.
    pub(super) account: &'static str,
    /// The server's program, which prints its version with `--version`.
    pub(super) server: fn() -> Result<PathBuf, NoServer>,
    /// Makes the files of an empty server in `data` of this folder.
    pub(super) create: Program,
    /// Runs the statements of its standard input on these files; `None` when each start runs them.
    pub(super) users: Option<Program>,
    /// The statements that make the user.
    pub(super) init: fn(password: &str) -> String,
    /// Runs the server with the files in `data` of this folder, on a port.
    pub(super) serve: fn(folder: &Path, port: u16) -> Result<Command, NoServer>,
    /// Whether the server has the port, by its file with its process id. Another program may answer there.
    pub(super) has_port: fn(folder: &Path) -> bool,
    /// The signal for an orderly shutdown.
    pub(super) stop: &'static str,
    pub(super) url: fn(password: &str, port: u16) -> String,
    /// The server's URL in this process, or a failure that lasts.
    pub(super) asked: OnceCell<ServerUrl>,
}

impl Make {
    /// The kind whose private server this URL stands for.
    pub(super) fn of_url(url: &str) -> Option<&'static Self> {
        let all = [
            #[cfg(feature = "postgres")]
            &POSTGRES,
            #[cfg(feature = "mysql")]
            &MARIADB,
        ];
        all.into_iter().find(|make| make.stands_for == url)
    }
}

/// The file, beside the data, with the password of the user and of Postgres's superuser.
pub(super) const PASSWORD: &str = "password";

#[cfg(feature = "postgres")]
static POSTGRES: Make = Make {
    name: "postgres",
    stands_for: POSTGRES_URL,
    account: "postgres",
    server: || find_postgres("postgres"),
    // <https://www.postgresql.org/docs/current/app-initdb.html>
    create: |folder| {
        let mut command = Command::new(find_postgres("initdb")?);
        command
                .arg("--pgdata")
                .arg(folder.join("data"))
                .arg("--pwfile")
                .arg(folder.join(PASSWORD))
                // SCRAM costs an unoptimised driver much computing for each connection, and loopback traffic is not
                // intercepted.
                .args(["--username", "postgres", "--auth-host", "password", "--auth-local", "reject"])
                .args(["--encoding", "UTF8", "--no-locale", "--no-sync"])
                // The smallest segments, because the folder is copied for each start.
                .args(["--wal-segsize", "1"]);
        Ok(command)
    },
    // <https://www.postgresql.org/docs/current/app-postgres.html>, the single-user mode: a statement a line
    users: Some(|folder| {
        let mut command = Command::new(find_postgres("postgres")?);
        command.arg("--single").arg("-D").arg(folder.join("data"));
        command.args(["-c", "fsync=off", "postgres"]);
        Ok(command)
    }),
    init: |password| {
        format!(
            "CREATE ROLE {USER} LOGIN CREATEDB PASSWORD '{password}'\n\
             GRANT ALL ON SCHEMA public TO {USER}\n"
        )
    },
    // <https://www.postgresql.org/docs/current/non-durability.html>
    serve: |folder, port| {
        let mut command = Command::new(find_postgres("postgres")?);
        command.arg("-D").arg(folder.join("data"));
        let port = format!("port={port}");
        let settings = [
            port.as_str(),
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=200",
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
        ];
        for setting in settings {
            command.args(["-c", setting]);
        }
        Ok(command)
    },
    has_port: |folder| {
        let written = std::fs::read_to_string(folder.join("data/postmaster.pid"));
        written.is_ok_and(|written| written.contains("ready"))
    },
    stop: "INT",
    url: |password, port| format!("postgres://{USER}:{password}@127.0.0.1:{port}/postgres"),
    asked: OnceCell::new(),
};

#[cfg(feature = "mysql")]
static MARIADB: Make = Make {
    name: "mariadb",
    stands_for: MYSQL_URL,
    account: "mysql",
    server: || find("mariadbd", "mariadb-server"),
    // <https://mariadb.com/kb/en/mariadb-install-db/>
    create: |folder| {
        let mut command = Command::new(find("mariadb-install-db", "mariadb-server")?);
        command
                .args(FILES)
                // With an equals sign, because the script does not accept two arguments.
                .arg(format!("--datadir={}", folder.join("data").display()))
                .env("TMPDIR", folder)
                .args(["--auth-root-authentication-method=socket", "--skip-test-db", "--skip-name-resolve"]);
        Ok(command)
    },
    users: None,
    init: |password| {
        format!(
            "CREATE DATABASE IF NOT EXISTS {USER};\n\
             CREATE USER IF NOT EXISTS {USER}@'%' IDENTIFIED BY '{password}';\n\
             GRANT ALL ON {USER}.* TO {USER}@'%';\n\
             GRANT ALL ON `{USER}\\_%`.* TO {USER}@'%';\n"
        )
    },
    // <https://mariadb.com/kb/en/mariadbd-options/>
    serve: |folder, port| {
        let option = |name: &str, value: &Path| format!("--{name}={}", value.display());
        let mut command = Command::new(find("mariadbd", "mariadb-server")?);
        command
            .args(FILES)
            .arg(option("datadir", &folder.join("data")))
            .arg(option("tmpdir", folder))
            .arg(option("pid-file", &folder.join("pid")))
            .arg(option("init-file", &folder.join(INIT_FILE)))
            .arg(format!("--port={port}"))
            .args([
                "--bind-address=127.0.0.1",
                "--socket=socket",
                "--skip-name-resolve",
            ])
            .args([
                "--innodb-flush-log-at-trx-commit=0",
                "--skip-innodb-doublewrite",
            ])
            .args(["--sync-binlog=0", "--skip-log-bin", "--max-connections=200"]);
        Ok(command)
    },
    has_port: |folder| folder.join("pid").exists(),
    stop: "TERM",
    url: |password, port| format!("mysql://{USER}:{password}@127.0.0.1:{port}/{USER}"),
    asked: OnceCell::new(),
};

/// Options to ignore the machine's configuration files, to store every character, and to keep data files small.
///
/// Without the configuration files, the character set is the compiled one, which is `latin1` before MariaDB 11.6:
/// <https://mariadb.com/kb/en/server-system-variables/#character_set_server>.
#[cfg(feature = "mysql")]
const FILES: [&str; 5] = [
    "--no-defaults",
    "--character-set-server=utf8mb4",
    "--innodb-log-file-size=4M",
    "--innodb-buffer-pool-size=32M",
    "--innodb-data-file-path=ibdata1:4M:autoextend",
];

/// The file with the statements that make the user.
pub(super) const INIT_FILE: &str = "users.sql";
