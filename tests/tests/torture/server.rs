//! The server under torture: its roles and its events.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use poolhouse_tests::{Kind, PrivateServer, Server, private_server::Builder};
use tempfile::TempDir;
use url::Url;

use super::plan::{Event, Role};
use super::victim;

/// The user with the documented rights.
const MINIMAL: &str = "lowly";
const PASSWORD: &str = "secret";

/// The name of a database that no test uses.
const REFERENCE: &str = "poolhouse_reference";

/// A server, or the folder of SQLite's files.
pub(crate) struct Tortured {
    server: Option<PrivateServer>,
    folder: TempDir,
    fresh: usize,
}

impl Tortured {
    /// Starts a server of this kind; `None` outside `tests/run`.
    pub(crate) async fn start(kind: Option<Kind>) -> anyhow::Result<Option<Self>> {
        let server = match kind {
            Some(kind) => {
                let Some(builder) = PrivateServer::require(kind) else {
                    return Ok(None);
                };
                Some(started(builder, kind).await?)
            }
            None => None,
        };
        Ok(Some(Self {
            server,
            folder: TempDir::new()?,
            fresh: 0,
        }))
    }

    /// The module of this server's victims.
    pub(crate) fn module(&self) -> &'static str {
        match self.server.as_ref().map(|server| server.kind) {
            Some(Kind::Postgres) => "postgres",
            Some(Kind::MariaDb) => "mariadb",
            None => "sqlite",
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The URL for tests in this role; `None` on SQLite, which needs none.
    pub(crate) fn url(&self, role: Role) -> Option<String> {
        self.server.as_ref().map(|server| match role {
            Role::Superuser => server.url.clone(),
            Role::Minimal => {
                let mut url =
                    Url::parse(&server.url).expect("the URL that the server was asked with");
                let _ = url.set_username(MINIMAL);
                let _ = url.set_password(Some(PASSWORD));
                if server.kind == Kind::MariaDb {
                    url.set_path("poolhouse_app");
                }
                url.into()
            }
        })
    }

    /// Writes a file with the contents of a database that this role made without this crate.
    pub(crate) async fn fresh(&mut self, role: Role, tree: &Path) -> anyhow::Result<PathBuf> {
        self.fresh += 1;
        let file = self.folder.path().join(format!("fresh_{}", self.fresh));
        #[allow(clippy::single_match_else, reason = "a server, or a file")]
        let lines = match (&self.server, self.url(role)) {
            (Some(server), Some(url)) => {
                let mut url = Url::parse(&url)?;
                let database = server.kind;
                // MariaDB's minimal user may use only names that begin with `poolhouse_`.
                let create = match database {
                    Kind::Postgres => {
                        format!("CREATE DATABASE {REFERENCE} OWNER {}", url.username())
                    }
                    Kind::MariaDb => format!("CREATE DATABASE {REFERENCE}"),
                };
                server.ask(&[create]).await?;
                url.set_path(REFERENCE);
                let lines = match database {
                    Kind::Postgres => victim::fresh::<sqlx::Postgres>(url.as_str(), tree).await?,
                    Kind::MariaDb => victim::fresh::<sqlx::MySql>(url.as_str(), tree).await?,
                };
                server.ask(&[format!("DROP DATABASE {REFERENCE}")]).await?;
                lines
            }
            _ => {
                let path = self.folder.path().join("reference.db");
                let url = format!("sqlite:{}?mode=rwc", path.display());
                let lines = victim::fresh::<sqlx::Sqlite>(&url, tree).await?;
                fs::remove_file(path)?;
                // This crate gives a test's file only this setting.
                lines
                    .iter()
                    .map(|line| line.replace("journal_mode = delete", "journal_mode = wal"))
                    .collect()
            }
        };
        ensure!(
            lines.len() > 20,
            "a fresh database has more than that: {lines:?}"
        );
        fs::write(&file, lines.join("\n"))?;
        Ok(file)
    }

    /// Applies an event to the server.
    pub(crate) async fn suffer(&mut self, event: &Event) -> anyhow::Result<()> {
        if matches!(event, Event::Nothing) {
            return Ok(());
        }
        let server = self.server.as_mut().context("SQLite has no server")?;
        match (event, server.kind) {
            (Event::Nothing, _) => {}
            (Event::Restart(stop), kind) => {
                if let Err(error) = server.restart(*stop).await {
                    if !never_recovers(&error) {
                        return Err(error);
                    }
                    println!(
                        "{kind} does not recover from its crash; the rounds go on with another: {error:#}"
                    );
                    *server = started(PrivateServer::of(kind), kind).await?;
                }
            }
            (Event::ResetStatistics, Kind::Postgres) => {
                in_each(server, "SELECT pg_stat_reset()").await?;
            }
            (Event::ResetStatistics, Kind::MariaDb) => {
                let reset = [
                    "FLUSH STATUS",
                    "FLUSH TABLES",
                    "TRUNCATE performance_schema.table_io_waits_summary_by_table",
                ];
                server.ask(&reset.map(str::to_owned)).await?;
            }
            (Event::Vacuum(how), Kind::Postgres) => {
                in_each(server, &format!("VACUUM {how}")).await?;
            }
            (Event::Vacuum(_), Kind::MariaDb) => {
                let tables = "SELECT concat('OPTIMIZE TABLE `', table_schema, '`.`', table_name, '`') \
                    FROM information_schema.tables WHERE table_schema LIKE 'poolhouse\\_%' AND table_type = 'BASE TABLE' \
                    AND table_name IN ('label', 'band')";
                for optimize in server
                    .ask(&[tables.to_owned()])
                    .await?
                    .into_iter()
                    .flatten()
                    .flatten()
                {
                    // A test may have dropped the table meanwhile.
                    let _ = server.ask(&[optimize]).await;
                }
            }
            (Event::EndSessions, Kind::Postgres) => {
                let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
                server.ask(&[end.to_owned()]).await?;
            }
            (Event::EndSessions, Kind::MariaDb) => {
                let sessions = "SELECT concat('KILL ', id) FROM information_schema.processlist \
                    WHERE id <> CONNECTION_ID() AND user IN ('lowly', 'poolhouse')";
                for kill in server
                    .ask(&[sessions.to_owned()])
                    .await?
                    .into_iter()
                    .flatten()
                    .flatten()
                {
                    let _ = server.ask(&[kill]).await;
                }
            }
        }
        Ok(())
    }
}

/// Starts a server with the settings and the user of the torture.
async fn started(builder: Builder, kind: Kind) -> anyhow::Result<PrivateServer> {
    let builder = match kind {
        Kind::Postgres => builder
            .setting("max_prepared_transactions", 64)
            .setting("allow_system_table_mods", "on")
            // It may analyze a table at any time.
            .setting("autovacuum", "off")
            // A test may wait for a lock of its own other connection.
            .setting("lock_timeout", "5s"),
        Kind::MariaDb => builder
            .setting("lock-wait-timeout", 5)
            .setting("innodb-lock-wait-timeout", 5),
    };
    let started = builder.start().await?;
    started.ask(&minimal(kind)).await?;
    if kind == Kind::Postgres {
        // The server is not durable, and the user must survive a crash in the first round.
        started.ask(&["CHECKPOINT".to_owned()]).await?;
    }
    Ok(started)
}

/// Whether Postgres's recovery failed at a file that the recovery itself made. Seen with 15.18, at the reset of an unlogged
/// table that was half made at the crash.
fn never_recovers(error: &anyhow::Error) -> bool {
    let words = format!("{error:#}");
    let ends = [
        "startup process failure",
        "could not create file",
        ": File exists",
    ];
    ends.iter().all(|end| words.contains(end))
}

/// The documented statements that make the user.
fn minimal(kind: Kind) -> Vec<String> {
    match kind {
        Kind::Postgres => vec![format!(
            "CREATE ROLE {MINIMAL} LOGIN CREATEDB PASSWORD '{PASSWORD}'"
        )],
        Kind::MariaDb => vec![
            format!("CREATE USER {MINIMAL}@'%' IDENTIFIED BY '{PASSWORD}'"),
            format!("GRANT ALL ON `poolhouse\\_%`.* TO {MINIMAL}@'%'"),
        ],
    }
}

/// Runs a statement in every test database that allows connections. Errors, as of a dropped database, are ignored.
async fn in_each(server: &PrivateServer, sql: &str) -> anyhow::Result<()> {
    let names =
        "SELECT datname FROM pg_database WHERE datname LIKE 'poolhouse\\_%' AND datallowconn";
    for name in server
        .ask(&[names.to_owned()])
        .await?
        .into_iter()
        .flatten()
        .flatten()
    {
        let mut url = Url::parse(&server.url)?;
        url.set_path(&name);
        let database = Server {
            url: url.into(),
            ..Server::clone(server)
        };
        // A prepared transaction may lock a table for ever.
        let patience = "SET lock_timeout = '2s'".to_owned();
        let _ = database.ask(&[patience, sql.to_owned()]).await;
    }
    Ok(())
}
