//! The result of closing a pool.

use std::fmt;
use std::time::Duration;

use crate::error::whole_millis;

/// The result of closing a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseReport {
    /// The engine's name.
    pub engine: String,
    /// Connections that were open when the close began.
    pub open: usize,
    /// Checkouts still in use at the limit, the longest held first. Their sessions were terminated where the server can do
    /// that.
    pub ended: Vec<EndedHolder>,
    /// How long the close took.
    pub took: Duration,
    /// Why the pool was not closed; `None` if it was.
    pub left: Option<Left>,
    /// Why sessions could not be terminated on the server, if that failed.
    pub unreachable: Option<String>,
}

/// Why `close_connection_pool` did not close a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Left {
    /// The pool was not started, or was closed before.
    NotStarted,
    /// The pool was started more than once, and the others still use it; the last one closes it.
    Shared,
    /// The pool was still being started. The start is cancelled, and its connections are closed.
    StartCancelled,
}

/// A checkout that was still in use when the close stopped waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndedHolder {
    /// The holder: the location of the checkout, the web request, or the running statement.
    pub holder: String,
    /// How long the checkout was held.
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

    /// Whether every checkout returned in time.
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
        let took = whole_millis(self.took);
        write!(
            f,
            "engine `{}`: pool closed, {} {connections} in {took}",
            self.engine, self.open
        )?;
        for ended in &self.ended {
            let held = whole_millis(ended.held);
            write!(f, "; {} was still out after {held}", ended.holder)?;
            if self.unreachable.is_none() && ended.session.is_some() {
                f.write_str(" and its session was terminated")?;
            }
        }
        if let Some(reason) = &self.unreachable {
            write!(f, "; the sessions could not be terminated: {reason}")?;
        }
        Ok(())
    }
}

/// The checkouts whose sessions were terminated, and the error if that failed.
pub(super) type CloseOutcome = (Vec<EndedHolder>, Option<String>);
