//! What the server itself says about the sessions of a test's user.
//!
//! Three kinds of evidence: **A** no session is left, **B** how many ended without the protocol's
//! goodbye, **K** how many the server was told to end. A test's user is its own, so all three are
//! exact although other tests run on the same server. B and K are settled once A holds.

use anyhow::Context;

use crate::{Server, TestDatabase, eventually, kind::Count};

/// A session as the server lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The server's number for it: the process on Postgres, the connection on MariaDB. A new
    /// session has a new one.
    pub id: i64,
    /// The `application_name`; empty on MariaDB, which has none.
    pub application: String,
    /// `active`, `idle`, `idle in transaction` or another word of Postgres'.
    pub state: String,
    /// The statement that runs, or on Postgres the last that ran.
    pub statement: String,
}

impl TestDatabase {
    /// The sessions of this database's user, in whatever database they are.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn sessions(&self) -> anyhow::Result<Vec<Session>> {
        self.sessions_on(self.server()).await
    }

    /// The sessions of this database's user on another server, which follows its own.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn sessions_on(&self, server: &Server) -> anyhow::Result<Vec<Session>> {
        let query = self.kind().facts().sessions(self.name());
        let rows = server.ask(&[query]).await?;
        rows.into_iter().map(session).collect()
    }

    /// Ends a session of this database's user from outside; false when it had ended by itself.
    pub async fn end_session(&self, session: &Session) -> bool {
        let end = self.kind().facts().end_session(session.id);
        self.server().ask(&[end]).await.is_ok()
    }

    /// **A**: waits until the server has no session of this database's user.
    ///
    /// # Errors
    /// When some are left at the limit of [`eventually()`]; they are listed.
    pub async fn no_session_left(&self) -> anyhow::Result<()> {
        self.sessions_become("no session is left", <[Session]>::is_empty)
            .await
            .map(drop)
    }

    /// Waits until the sessions are as `wanted` says, and returns them.
    ///
    /// # Errors
    /// When they are not at the limit of [`eventually()`]; they are listed.
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

    /// How many sessions wait inside a transaction. On a MariaDB server without the performance
    /// schema always 0.
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

    /// **B**: how many sessions have ended without the protocol's goodbye: a socket closed, reset
    /// or lost.
    ///
    /// # Errors
    /// When the server cannot be asked, or its log not read.
    pub async fn ended_uncleanly(&self) -> anyhow::Result<u64> {
        self.count(self.kind().facts().ended_uncleanly(self.name()))
            .await
    }

    /// **K**: how many sessions the server was told to end.
    ///
    /// # Errors
    /// When the server cannot be asked, or its log not read.
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
