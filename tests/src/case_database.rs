//! The database of a case, and its evidence.

use std::path::PathBuf;

use anyhow::Context;
use sqlx::Connection;
use tempfile::TempDir;

use crate::{Server, TestDatabase, eventually, servers, sql::Sql};

/// A case's own database, on a server or in a file.
#[derive(Debug)]
pub enum CaseDatabase {
    /// On a server, which gives the evidence.
    Server(TestDatabase),
    /// A SQLite file in a folder; the folder's files are the evidence.
    File(TempDir),
}

impl CaseDatabase {
    /// Creates a database of this kind on the shared server; `None` outside `tests/run` if it needs a server.
    ///
    /// # Errors
    /// When it cannot be created.
    pub async fn of<DB: Sql>(hint: &str) -> anyhow::Result<Option<Self>> {
        let Some(kind) = DB::SERVER else {
            return Ok(Some(Self::File(TempDir::new()?)));
        };
        match servers::require(kind) {
            Some(server) => Self::on(&server, hint).await.map(Some),
            None => Ok(None),
        }
    }

    /// Creates a database on this server.
    ///
    /// # Errors
    /// As [`Server::database`].
    pub async fn on(server: &Server, hint: &str) -> anyhow::Result<Self> {
        Ok(Self::Server(server.database(hint).await?))
    }

    /// The database's URL.
    pub fn url(&self) -> String {
        match self {
            Self::Server(database) => database.url().to_owned(),
            Self::File(folder) => format!("sqlite:{}?mode=rwc", folder.path().join("db").display()),
        }
    }

    /// Runs statements on a separate connection.
    ///
    /// # Errors
    /// When the database refuses them.
    pub async fn run<DB: Sql>(&self, sql: &str) -> anyhow::Result<()> {
        let mut connection = DB::Connection::connect(&self.url()).await?;
        DB::run(&mut connection, sql).await?;
        Ok(connection.close().await?)
    }

    /// Queries a number on a separate connection.
    ///
    /// # Errors
    /// When the database refuses the query.
    pub async fn answer<DB: Sql>(&self, sql: &str) -> anyhow::Result<i64> {
        let mut connection = DB::Connection::connect(&self.url()).await?;
        let answer = DB::answer(&mut connection, sql).await?;
        connection.close().await?;
        Ok(answer)
    }

    /// The database on its server.
    ///
    /// # Errors
    /// When the database is a file.
    pub fn database(&self) -> anyhow::Result<&TestDatabase> {
        match self {
            Self::Server(database) => Ok(database),
            Self::File(_) => anyhow::bail!("this case needs a server"),
        }
    }

    /// **A**: waits until no session is left.
    ///
    /// # Errors
    /// When some are left at the limit of [`eventually()`].
    pub async fn no_session_left(&self) -> anyhow::Result<()> {
        match self {
            Self::Server(database) => database.no_session_left().await,
            // The last connection that closes cleanly removes the write-ahead log:
            // <https://www.sqlite.org/wal.html#the_wal_file>.
            Self::File(folder) => {
                eventually("SQLite's last connection is closed", async || {
                    for name in ["db-wal", "db-shm"] {
                        let path: PathBuf = folder.path().join(name);
                        anyhow::ensure!(!path.exists(), "{} is there", path.display());
                    }
                    Ok(())
                })
                .await
            }
        }
    }

    /// **A** and **B**: waits until no session is left, and checks that none ended uncleanly or was killed.
    ///
    /// # Errors
    /// When a session is left, ended uncleanly or was killed.
    pub async fn closed_in_good_order(&self) -> anyhow::Result<()> {
        self.sessions_ended(0, 0).await
    }

    /// **A**, **B** and **K**: waits until no session is left, and checks how many ended uncleanly and how many were killed. For
    /// a file only A is checked.
    ///
    /// # Errors
    /// When a session is left, or when a count differs.
    pub async fn sessions_ended(&self, uncleanly: u64, killed: u64) -> anyhow::Result<()> {
        self.no_session_left().await?;
        let Self::Server(database) = self else {
            return Ok(());
        };
        let ended = (database.ended_uncleanly().await?, database.killed().await?);
        anyhow::ensure!(
            ended == (uncleanly, killed),
            "{} sessions ended uncleanly and {} were killed, instead of {uncleanly} and {killed}",
            ended.0,
            ended.1
        );
        Ok(())
    }

    /// The current number of sessions; `None` for a file.
    ///
    /// # Errors
    /// When the query fails.
    pub async fn sessions(&self) -> anyhow::Result<Option<usize>> {
        match self {
            Self::Server(database) => Ok(Some(database.sessions().await?.len())),
            Self::File(_) => Ok(None),
        }
    }

    /// Waits until exactly one session runs a statement that contains `words`, and returns its id.
    ///
    /// # Errors
    /// When the number is not one at the limit of [`eventually()`].
    pub async fn one_runs(&self, words: &str) -> anyhow::Result<i64> {
        let what = format!("one session runs {words}");
        let sessions = self
            .database()?
            .sessions_become(&what, |sessions| {
                let running = sessions.iter().filter(|session| {
                    session.state == "active" && session.statement.contains(words)
                });
                running.count() == 1
            })
            .await?;
        let running = sessions
            .iter()
            .find(|session| session.state == "active" && session.statement.contains(words));
        Ok(running.context("it has just been there")?.id)
    }

    /// Waits until no session runs a statement.
    ///
    /// # Errors
    /// When one still does at the limit of [`eventually()`].
    pub async fn none_is_active(&self) -> anyhow::Result<()> {
        let Self::Server(database) = self else {
            return Ok(());
        };
        database
            .sessions_become("no session is active", |sessions| {
                sessions.iter().all(|session| session.state != "active")
            })
            .await
            .map(drop)
    }
}
