//! Closing a pool: nobody new gets in, those inside get their time, and what is left is ended on the server.

use std::fmt;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::keeper::whole_millis;
use super::{Flavour, Own, Pool};
use crate::backend::Backend;

/// How long those whose session was just ended on the server have to notice it and let go: a tenth of `close_timeout`, so
/// that the whole close keeps to its limit, and at most a second.
fn let_go(limit: Duration) -> Duration {
    (limit / 10).clamp(Duration::from_millis(20), Duration::from_secs(1))
}

/// What closing a pool came to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CloseReport {
    /// The engine's name.
    pub engine: String,
    /// Connections that were open when the close began.
    pub open: usize,
    /// Checkouts that were still out at the limit, the longest held first. Their sessions were ended on the server where
    /// the server can do that.
    pub ended: Vec<EndedHolder>,
    /// How long the close took.
    pub took: Duration,
    /// Why the pool was not closed after all, when it was not.
    pub left: Option<Left>,
    /// Why sessions could not be ended on the server, when that failed.
    pub unreachable: Option<String>,
}

/// Why `close_connection_pool` left a pool as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Left {
    /// It was not started, or it was closed before.
    NotStarted,
    /// It was started more than once, and the others still use it; the last one closes it.
    Shared,
    /// It was still being started. The start is cancelled, and what it had opened is closed.
    StartCancelled,
}

/// A checkout that was out for longer than the close could wait.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndedHolder {
    /// Who had it: the place of the checkout, or the statement that was running.
    pub holder: String,
    /// For how long.
    pub held: Duration,
    /// The server's id of its session, where there is one.
    pub session: Option<String>,
}

impl CloseReport {
    pub(crate) fn left(engine: &str, left: Left) -> Self {
        Self {
            engine: engine.to_owned(),
            open: 0,
            ended: Vec::new(),
            took: Duration::ZERO,
            left: Some(left),
            unreachable: None,
        }
    }

    /// Whether every checkout came back by itself.
    pub fn is_clean(&self) -> bool {
        self.ended.is_empty()
    }
}

impl fmt::Display for CloseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.left {
            Some(Left::NotStarted) => {
                return write!(
                    f,
                    "engine `{}`: its pool is not started, so there is nothing to close",
                    self.engine
                );
            }
            Some(Left::Shared) => {
                return write!(
                    f,
                    "engine `{}`: its pool is still in use by another owner, which will close it",
                    self.engine
                );
            }
            Some(Left::StartCancelled) => {
                return write!(
                    f,
                    "engine `{}`: its pool was still being started, and the start is cancelled",
                    self.engine
                );
            }
            None => {}
        }
        let connections = if self.open == 1 {
            "connection"
        } else {
            "connections"
        };
        let took = humantime::format_duration(whole_millis(self.took));
        write!(
            f,
            "engine `{}`: pool closed, {} {connections} in {took}",
            self.engine, self.open
        )?;
        for ended in &self.ended {
            let held = humantime::format_duration(whole_millis(ended.held));
            write!(f, "; {} was still out after {held}", ended.holder)?;
            if self.unreachable.is_none() && ended.session.is_some() {
                f.write_str(" and was ended on the server")?;
            }
        }
        if let Some(reason) = &self.unreachable {
            write!(
                f,
                "; the sessions could not be ended on the server: {reason}"
            )?;
        }
        Ok(())
    }
}

impl<DB: Backend> Pool<DB> {
    /// Closes the pool: refuses new checkouts, waits for the others up to `close_timeout` or until `hurry`, and ends on
    /// the server what is left. It never waits longer than `close_timeout` and a few seconds.
    pub(crate) async fn close(&self, hurry: &CancellationToken) -> CloseReport {
        let begun = Instant::now();
        let open = self.status().size;
        let limit = self.0.settings.close_timeout;
        let (ended, unreachable) = match &self.0.flavour {
            Flavour::Own(own) => own.close(limit, hurry).await,
            Flavour::Sqlx(pool) => pool.close(limit, hurry).await,
        };
        CloseReport {
            engine: self.0.settings.engine.clone(),
            open,
            ended,
            took: begun.elapsed(),
            left: None,
            unreachable,
        }
    }
}

/// Those that were ended, and why they could not be.
pub(super) type Ended = (Vec<EndedHolder>, Option<String>);

impl<DB: Backend> Own<DB> {
    async fn close(&self, limit: Duration, hurry: &CancellationToken) -> Ended {
        // Wakes the waiters, refuses newcomers, and lets go of the idle connections, each of which says goodbye in a
        // task of its own, as those do that come back later. Every connection holds a token of the tasks, wherever it is.
        self.places.close();
        // deadpool leaves those in its queue whose permit has just been given to a waiter, who now gets nothing.
        drop(self.places.retain(|_, _| false));
        self.closing.cancel();
        self.yard.tasks.close();
        let drained = tokio::select! {
            result = timeout(limit, self.yard.tasks.wait()) => result.is_ok(),
            () = hurry.cancelled() => false,
        };
        let outcome = if drained {
            (Vec::new(), None)
        } else {
            self.end_what_is_left(limit).await
        };
        let anchor = self
            .anchor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(anchor) = anchor {
            self.yard.connector.goodbye(anchor).await;
        }
        outcome
    }

    async fn end_what_is_left(&self, limit: Duration) -> Ended {
        let ended: Vec<EndedHolder> = self
            .yard
            .register
            .taken()
            .into_iter()
            .map(|taken| EndedHolder {
                holder: taken.by.to_string(),
                held: taken.since.elapsed(),
                session: taken.session.map(|session| session.id.to_string()),
            })
            .collect();
        // Every session that is still open: also one in the middle of a mend or a goodbye.
        let sessions: Vec<_> = self
            .yard
            .register
            .cards()
            .iter()
            .filter_map(|card| card.session.clone())
            .collect();
        let unreachable = match self.yard.connector.end_sessions(&sessions).await {
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        };
        // Those that do not let go hold a connection that is of no use to them any more.
        let _ = timeout(let_go(limit), self.yard.tasks.wait()).await;
        (ended, unreachable)
    }
}
