//! What closing a pool came to.

use std::fmt;
use std::time::Duration;

use super::status::whole_millis;

/// What closing a pool came to.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// Those that were ended, and why they could not be.
pub(super) type CloseOutcome = (Vec<EndedHolder>, Option<String>);
