//! The specifics of MariaDB.

use std::{fs, path::Path, process::Command};

use anyhow::Context;
use nix::sys::signal::Signal;
use sqlx::MySqlConnection;

use super::{Count, Demotion, Facts, Layout, SUPERUSER};
use crate::{binaries, children, private_server::Stop, question, question::Answers};

pub(super) struct MariaDb;

/// Options of a cluster's files, for their creation and for the server. The files are as small as
/// possible, because they are copied for each further server.
const FILES: [&str; 5] = [
    "--no-defaults",
    "--innodb-log-file-size=4M",
    "--innodb-autoextend-increment=1",
    "--innodb-doublewrite=OFF",
    "--innodb-flush-method=nosync",
];

/// Settings of every private server: small, and without durability.
const SETTINGS: [(&str, &str); 14] = [
    ("bind-address", "127.0.0.1"),
    // Relative to the data folder, because a socket's path has at most 107 bytes.
    ("socket", "socket"),
    ("skip-name-resolve", "ON"),
    ("max-connections", "400"),
    // Killed sessions are logged from level 4 on.
    ("log-warnings", "4"),
    // Shows transactions that have begun and not yet used a table; no other table does.
    ("performance-schema", "ON"),
    ("performance-schema-instrument", "transaction=ON"),
    (
        "performance-schema-consumer-events-transactions-current",
        "ON",
    ),
    ("innodb-buffer-pool-size", "32M"),
    ("innodb-buffer-pool-dump-at-shutdown", "OFF"),
    ("innodb-flush-log-at-trx-commit", "0"),
    ("innodb-temp-data-file-path", "ibtmp1:2M:autoextend"),
    ("key-buffer-size", "1M"),
    ("aria-pagecache-buffer-size", "8M"),
];

impl Facts for MariaDb {
    fn name(&self) -> &'static str {
        "MariaDB"
    }

    fn url_variable(&self) -> &'static str {
        "POOLHOUSE_TEST_MYSQL_URL"
    }

    fn log_variable(&self) -> &'static str {
        "POOLHOUSE_TEST_MYSQL_LOG"
    }

    fn account(&self) -> &'static str {
        "mysql"
    }

    fn default_port(&self) -> u16 {
        3306
    }

    fn create(&self, data: &Path, _password: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(binaries::find("mariadb-install-db", "mariadb-server")?);
        command
            .args(FILES)
            // With an equals sign: the script does not accept two arguments.
            .arg(format!("--datadir={}", data.display()))
            // A server that starts removes the temporary tables of every other server in the same
            // folder.
            .env("TMPDIR", data.parent().context("the data has no folder")?)
            // Only the superuser's password gives access: root has to use the socket.
            .args(["--auth-root-authentication-method=socket", "--skip-test-db", "--skip-name-resolve"]);
        Ok(command)
    }

    // The primary's binary log begins with an empty server.
    fn copy(&self, _: &str, _: &Path) -> anyhow::Result<Option<Command>> {
        Ok(None)
    }

    // https://mariadb.com/kb/en/change-master-to/
    fn follow(&self, primary: &Layout) -> Vec<String> {
        vec![
            format!(
                "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {}, MASTER_USER = '{SUPERUSER}', \
                 MASTER_PASSWORD = '{}', MASTER_CONNECT_RETRY = 1",
                primary.port, primary.password
            ),
            "START SLAVE".into(),
            "SET GLOBAL read_only = 1".into(),
        ]
    }

    fn received(&self) -> &'static str {
        "SHOW SLAVE STATUS"
    }

    // The sixth and the seventh column are the position that was read in the primary's log:
    // https://mariadb.com/kb/en/show-replica-status/
    fn promote(&self, received: &[Option<String>]) -> Vec<String> {
        let column = |index: usize| received.get(index).and_then(Option::as_deref);
        vec![
            format!(
                "SELECT MASTER_POS_WAIT('{}', {}, 30)",
                column(5).unwrap_or_default(),
                column(6).unwrap_or("0")
            ),
            "STOP SLAVE".into(),
            "RESET SLAVE ALL".into(),
            "SET GLOBAL read_only = 0".into(),
        ]
    }

    fn demotion(&self) -> Demotion {
        Demotion::Setting("read-only", "ON")
    }

    fn serve(&self, layout: &Layout, settings: &[(String, String)]) -> anyhow::Result<Command> {
        let users = layout.folder.join("users.sql");
        // The server reads the file at each start; it has one statement per line.
        let statements = format!(
            "CREATE USER IF NOT EXISTS {SUPERUSER}@'%' IDENTIFIED BY '{}';\n\
             GRANT ALL ON *.* TO {SUPERUSER}@'%' WITH GRANT OPTION;\n",
            layout.password
        );
        fs::write(&users, statements)
            .with_context(|| format!("cannot write {}", users.display()))?;

        let option = |name: &str, value: &Path| format!("--{name}={}", value.display());
        let mut command =
            children::ending_with_this_process(&binaries::find("mariadbd", "mariadb-server")?);
        command
            .args(FILES)
            .arg(option("datadir", &layout.data()))
            .arg(option("tmpdir", &layout.folder))
            .arg(option("pid-file", &layout.folder.join("pid")))
            .arg(option("init-file", &users))
            .arg(format!("--port={}", layout.port))
            // A replica and its primary need different ids.
            .arg(format!("--server-id={}", layout.port));
        command.args(SETTINGS.map(|(name, value)| format!("--{name}={value}")));
        command.args(
            settings
                .iter()
                .map(|(name, value)| format!("--{name}={value}")),
        );
        Ok(command)
    }

    fn signal(&self, stop: Stop) -> Signal {
        match stop {
            Stop::Orderly => Signal::SIGTERM,
            Stop::Crash => Signal::SIGKILL,
        }
    }

    fn url(&self, layout: &Layout) -> String {
        format!(
            "mysql://{SUPERUSER}:{}@127.0.0.1:{}/mysql",
            layout.password, layout.port
        )
    }

    fn whose_data(&self) -> &'static str {
        "SELECT @@datadir"
    }

    fn ask<'a>(&self, url: &'a str, statements: &'a [String]) -> Answers<'a> {
        Box::pin(question::ask::<MySqlConnection>(url, statements))
    }

    fn create_database(&self, name: &str, password: &str) -> Vec<String> {
        vec![
            format!("CREATE USER {name}@'%' IDENTIFIED BY '{password}'"),
            format!("CREATE DATABASE {name}"),
            // An underscore in the name of a database is a wildcard here. The user may create
            // databases whose names begin with `name`.
            format!(
                "GRANT ALL ON `{}%`.* TO {name}@'%'",
                name.replace('_', "\\_")
            ),
        ]
    }

    fn clear_database(&self, name: &str) -> String {
        // A session in a transaction would block the drop until it ends.
        format!(
            "SELECT concat('KILL ', id) FROM information_schema.processlist WHERE user = '{name}' \
             UNION ALL SELECT concat('DROP DATABASE IF EXISTS `', schema_name, '`') FROM information_schema.schemata \
             WHERE schema_name LIKE '{}%'",
            name.replace('_', "\\_")
        )
    }

    fn drop_database(&self, name: &str) -> Vec<String> {
        vec![format!("DROP USER IF EXISTS {name}@'%'")]
    }

    fn sessions(&self, name: &str) -> String {
        format!(
            "SELECT p.id, '', CASE WHEN p.command <> 'Sleep' THEN 'active' \
             WHEN x.state = 'ACTIVE' THEN 'idle in transaction' ELSE 'idle' END, coalesce(p.info, '') \
             FROM information_schema.processlist p \
             LEFT JOIN performance_schema.threads t ON t.processlist_id = p.id \
             LEFT JOIN performance_schema.events_transactions_current x ON x.thread_id = t.thread_id \
             WHERE p.user = '{name}' ORDER BY p.id"
        )
    }

    fn end_session(&self, id: i64) -> String {
        format!("KILL CONNECTION {id}")
    }

    // `Aborted_clients` counts all users, and the lost connections of `USER_STATISTICS` do not
    // include those that end inside a statement. The log names the user of each: "Aborted
    // connection 7 to db: 'd' user: 'u' host: 'h' (reason)". https://mariadb.com/kb/en/error-log/
    fn ended_uncleanly(&self, name: &str) -> Count {
        Count::Log {
            with: vec!["Aborted connection".into(), format!("user: '{name}'")],
            without: vec!["(KILLED)".into()],
        }
    }

    fn killed(&self, name: &str) -> Count {
        Count::Log {
            with: vec![
                "Aborted connection".into(),
                format!("user: '{name}'"),
                "(KILLED)".into(),
            ],
            without: Vec::new(),
        }
    }
}
