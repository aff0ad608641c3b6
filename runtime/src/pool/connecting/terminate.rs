//! Terminating sessions on the server, over a separate connection.

use std::io;
use std::time::Duration;

use futures_util::future::join_all;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::super::within::within;
use super::connector::Connector;
use super::hosts::SessionId;
use super::terminations::Termination;
use crate::backend::Backend;

/// Time limit for terminating sessions on one server, including the connect.
const LIMIT: Duration = Duration::from_secs(3);

impl<DB: Backend> Connector<DB> {
    /// Terminates one session, together with the other sessions requested at the same time.
    ///
    /// # Errors
    ///
    /// Why the server could not be asked.
    pub(in crate::pool) async fn terminate(&self, session: &SessionId) -> Result<(), String> {
        self.terminate_all(vec![session.clone()]).await
    }

    /// Terminates the sessions that are left at a close, within the limit for one server, although another task may be
    /// terminating others. Returns why a server could not be asked.
    pub(in crate::pool) async fn terminate_at_close(
        &self,
        sessions: Vec<SessionId>,
    ) -> Option<String> {
        match timeout(LIMIT, self.terminate_all(sessions)).await {
            Ok(ended) => ended.err(),
            Err(_) => Some(format!("no answer within {LIMIT:?}")),
        }
    }

    /// As [`terminate`](Self::terminate), for several sessions. None is terminated behind a pooler, where an id that was read
    /// before it was detected is that of another client's session by now.
    async fn terminate_all(&self, sessions: Vec<SessionId>) -> Result<(), String> {
        if self.is_behind_pooler() && !sessions.is_empty() {
            let shared = "a pooler stands between, whose sessions are shared with other clients";
            return Err(shared.to_owned());
        }
        let (outcome, reported) = oneshot::channel();
        self.terminations
            .lock()
            .push(Termination { sessions, outcome });
        let mut turn = self.terminations.turn.lock().await;
        let requests = std::mem::take(&mut *self.terminations.lock());
        if !requests.is_empty() {
            let mut sessions: Vec<SessionId> = Vec::new();
            for session in requests.iter().flat_map(|request| &request.sessions) {
                if !turn.contains(session) && !sessions.contains(session) {
                    sessions.push(session.clone());
                }
            }
            let ended = self.end_sessions(&mut sessions).await;
            let ended = ended.map_err(|error| error.to_string());
            if ended.is_ok() && !sessions.is_empty() {
                *turn = sessions;
            }
            for request in requests {
                // A caller that no longer waits needs no answer.
                let _ = request.outcome.send(ended.clone());
            }
        }
        drop(turn);
        let cancelled = "the task that was terminating the session was cancelled";
        reported.await.unwrap_or_else(|_| Err(cancelled.to_owned()))
    }

    /// Terminates sessions, on all hosts at the same time.
    ///
    /// # Errors
    ///
    /// Why a server could not be asked, or that the time limit was exceeded.
    async fn end_sessions(&self, sessions: &mut [SessionId]) -> sqlx::Result<()> {
        sessions.sort_by_key(|session| session.host);
        let hosts = sessions.chunk_by(|one, other| one.host == other.host);
        let all = hosts.map(|of_one| {
            let limit = "the limit for ending sessions on the server";
            within(LIMIT, limit, self.end_on_one(of_one))
        });
        // If a host does not answer, the sessions of the other hosts are still terminated.
        join_all(all).await.into_iter().collect()
    }

    /// Terminates sessions of one host. `sessions` is not empty.
    async fn end_on_one(&self, sessions: &[SessionId]) -> sqlx::Result<()> {
        let statements: Vec<String> = sessions
            .iter()
            .filter_map(|SessionId { id, since, .. }| {
                Some((self.dialect().session.as_ref()?.end)(id, since.as_deref()))
            })
            .collect();
        if statements.is_empty() {
            return Ok(());
        }
        let options = self.hosts.options_of(sessions[0].host);
        let options = self.credentials.fetch(options).await?.options;
        let mut connection = options.connect().await?;
        let mut denied = None;
        for statement in statements {
            match DB::execute(&mut connection, sqlx::raw_sql(AssertSqlSafe(statement))).await {
                Ok(_) => {}
                Err(sqlx::Error::Database(error)) => {
                    let is_denied = self.dialect().session.as_ref().is_some_and(|session| {
                        (session.end_denied)(error.code().as_deref(), error.message())
                    });
                    if is_denied {
                        let other = "the user that connects now may not end the session";
                        denied = Some(sqlx::Error::Io(io::Error::other(other)));
                    } else {
                        tracing::debug!(engine = %self.settings.engine, %error, "a session was already gone");
                    }
                }
                Err(error) => return Err(error),
            }
        }
        connection.close().await?;
        denied.map_or(Ok(()), Err)
    }
}
