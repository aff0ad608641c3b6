//! Evidence from the server about the sessions of a test's user.
//!
//! **A**: no session is left. **B**: the number that ended without the protocol's quit message.
//! **K**: the number that the server was asked to terminate. Only the test uses its user, so all
//! three are exact while other tests use the same server. B and K are final once A holds.

use anyhow::Context;

use crate::{Server, TestDatabase, eventually, kind::Count};

/// A session as the server lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The server's number for the session: the process on Postgres, the connection on MariaDB. A
    /// new session has a new number.
    pub id: i64,
    /// The `application_name`; empty on MariaDB, which has none.
    pub application: String,
    /// `active`, `idle`, `idle in transaction` or another state of Postgres.
    pub state: String,
    /// The running statement, or on Postgres the last one.
    pub statement: String,
}

impl TestDatabase {
    /// The sessions of this database's user, in all databases.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn sessions(&self) -> anyhow::Result<Vec<Session>> {
        self.sessions_on(self.server()).await
    }

    /// The sessions of this database's user on another server that replicates this one.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn sessions_on(&self, server: &Server) -> anyhow::Result<Vec<Session>> {
        let query = self.kind().facts().sessions(self.name());
        let rows = server.ask(&[query]).await?;
        rows.into_iter().map(session).collect()
    }

    /// Terminates a session of this database's user; `false` if it had ended already.
    pub async fn end_session(&self, session: &Session) -> bool {
        let end = self.kind().facts().end_session(session.id);
        self.server().ask(&[end]).await.is_ok()
    }

    /// **A**: waits until the server has no session of this database's user.
    ///
    /// # Errors
    /// When some are left at the limit of [`eventually()`]. The error lists them.
    pub async fn no_session_left(&self) -> anyhow::Result<()> {
        self.sessions_become("no session is left", <[Session]>::is_empty)
            .await
            .map(drop)
    }

    /// Waits until `wanted` holds for the sessions, and returns them.
    ///
    /// # Errors
    /// When `wanted` does not hold at the limit of [`eventually()`]. The error lists the sessions.
    pub async fn sessions_become(
        &self,
        what: &str,
        wanted: impl Fn(&[Session]) -> bool,
    ) -> anyhow::Result<Vec<Session>> {
        eventually(what, async || {
            let sessions = self.sessions().await?;
            anyhow::ensure!(wanted(&sessions), "the server lists {sessions:#?}");
            Ok(sessions)
        })
        .await
    }

    /// The number of sessions that are idle in a transaction. Always 0 on a MariaDB server without
    /// the performance schema.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn idle_in_transaction(&self) -> anyhow::Result<usize> {
        let sessions = self.sessions().await?;
        Ok(sessions
            .iter()
            .filter(|session| session.state.starts_with("idle in transaction"))
            .count())
    }

    /// **B**: the number of sessions that ended without the protocol's quit message: a socket
    /// closed, reset or lost.
    ///
    /// # Errors
    /// When the query fails, or when the log cannot be read.
    pub async fn ended_uncleanly(&self) -> anyhow::Result<u64> {
        self.count(self.kind().facts().ended_uncleanly(self.name()))
            .await
    }

    /// **K**: the number of sessions that the server was asked to terminate.
    ///
    /// # Errors
    /// When the query fails, or when the log cannot be read.
    pub async fn killed(&self) -> anyhow::Result<u64> {
        self.count(self.kind().facts().killed(self.name())).await
    }

    async fn count(&self, count: Count) -> anyhow::Result<u64> {
        match count {
            Count::Query(query) => {
                let rows = self.ask(query).await?;
                let number = rows
                    .into_iter()
                    .flatten()
                    .flatten()
                    .next()
                    .context("the server has no such count")?;
                Ok(number.parse()?)
            }
            Count::Log { with, without } => {
                let with: Vec<&str> = with.iter().map(String::as_str).collect();
                let mut lines = self.server().log()?.lines_with(&with)?;
                lines.retain(|line| !without.iter().any(|word| line.contains(word)));
                Ok(u64::try_from(lines.len())?)
            }
        }
    }

    async fn ask(&self, query: String) -> anyhow::Result<Vec<Vec<Option<String>>>> {
        self.server().ask(&[query]).await
    }
}

fn session(row: Vec<Option<String>>) -> anyhow::Result<Session> {
    let mut values = row.into_iter().map(Option::unwrap_or_default);
    let mut value = || {
        values
            .next()
            .context("the server's list of sessions lacks a column")
    };
    Ok(Session {
        id: value()?.parse()?,
        application: value()?,
        state: value()?,
        statement: value()?,
    })
}
