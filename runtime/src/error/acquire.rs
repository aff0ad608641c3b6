//! A checkout that failed.

use std::fmt;
use std::io;
use std::time::Duration;

use super::text::{in_parentheses, sentence, whole_millis};
use crate::dialect::{Diagnosis, own_message};
use crate::settings::EngineSettings;

/// Why there was no connection for a checkout.
#[derive(thiserror::Error)]
#[error("engine `{engine}`: {reason}")]
pub struct AcquireError {
    engine: String,
    kind: AcquireKind,
    reason: String,
    #[source]
    cause: Option<sqlx::Error>,
}

/// The kinds of [`AcquireError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AcquireKind {
    /// The pool is closed, or is being closed.
    Closed,
    /// All connections were in use until `acquire_timeout`, or the limit of a health check, was over.
    TimedOut,
    /// The server gave no answer until `acquire_timeout`, or the limit of a health check, was over.
    NoAnswer,
    /// No connection could be opened.
    Connect,
    /// The pool is not started, and `require_pool` is on.
    NotStarted,
}

impl AcquireError {
    /// Which kind of error this is.
    pub fn kind(&self) -> AcquireKind {
        self.kind
    }

    /// The `AcquireError` inside a [`sqlx::Error`] that a query on the engine returned, if there is one.
    pub fn find(error: &sqlx::Error) -> Option<&Self> {
        match error {
            sqlx::Error::Io(error) => error.get_ref()?.downcast_ref(),
            _ => None,
        }
    }

    pub(crate) fn closed(settings: &EngineSettings) -> Self {
        Self {
            engine: settings.engine.clone(),
            kind: AcquireKind::Closed,
            reason: "its pool is closed, because its owner has closed it. Start it again, or end this task before the close".to_owned(),
            cause: None,
        }
    }

    pub(crate) fn not_started(settings: &EngineSettings) -> Self {
        Self {
            engine: settings.engine.clone(),
            kind: AcquireKind::NotStarted,
            reason: "its pool is not started, and this engine requires one (require_pool). \
                     Put #[with_pool] on the function that runs first, or call start_connection_pool()"
                .to_owned(),
            cause: None,
        }
    }

    /// `longest` is the holder that has held a connection longest, and for how long.
    pub(crate) fn timed_out(
        settings: &EngineSettings,
        status: &dyn fmt::Display,
        longest: Option<(impl fmt::Display, Duration)>,
    ) -> Self {
        let (longest, cure) = match longest {
            Some((holder, held)) => (
                format!("held longest: {holder}, for {}", whole_millis(held)),
                "Return connections sooner",
            ),
            None => (
                "none is held: they are being opened, closed, or recovered after cancelled statements".to_owned(),
                "See whether the server is slow, or limit the time of statements there",
            ),
        };
        Self {
            engine: settings.engine.clone(),
            kind: AcquireKind::TimedOut,
            reason: format!(
                "no connection became free in time ({}): {status}; {longest}. {cure}, or raise {}",
                settings.describe("acquire_timeout"),
                settings.describe("max_size"),
            ),
            cause: None,
        }
    }

    pub(crate) fn busy(
        settings: &EngineSettings,
        limit: Duration,
        status: &dyn fmt::Display,
    ) -> Self {
        Self {
            engine: settings.engine.clone(),
            kind: AcquireKind::TimedOut,
            reason: format!(
                "it is busy: no connection became free for the health check within {}: {status}. Whether the server answers is \
                 not known. Return connections sooner, or raise {}",
                humantime::format_duration(limit),
                settings.describe("max_size"),
            ),
            cause: None,
        }
    }

    pub(crate) fn no_answer(settings: &EngineSettings, limit: Duration) -> Self {
        let limit = humantime::format_duration(limit);
        Self::silent(settings, &format!("to the health check within {limit}"))
    }

    /// The server gave no answer to an opening or a ping until `acquire_timeout` was over.
    pub(crate) fn no_answer_in_time(settings: &EngineSettings) -> Self {
        let limit = settings.describe("acquire_timeout");
        Self::silent(settings, &format!("in time ({limit})"))
    }

    fn silent(settings: &EngineSettings, limit: &str) -> Self {
        Self {
            engine: settings.engine.clone(),
            kind: AcquireKind::NoAnswer,
            reason: format!(
                "the server gave no answer {limit}. Check the server and the network between here and there. {}",
                settings.describe("url"),
            ),
            cause: None,
        }
    }

    pub(crate) fn connect(
        settings: &EngineSettings,
        diagnosis: &Diagnosis,
        error: sqlx::Error,
    ) -> Self {
        let own = own_message(&error);
        let detail = in_parentheses(own.as_deref());
        Self {
            engine: settings.engine.clone(),
            kind: AcquireKind::Connect,
            reason: format!(
                "no connection could be opened: {}{detail}. {}. {}",
                diagnosis.what,
                sentence(&diagnosis.cure),
                settings.describe("url")
            ),
            cause: own.is_none().then_some(error),
        }
    }
}

impl From<AcquireError> for sqlx::Error {
    /// Wraps it as [`sqlx::Error::Io`] with our text; [`AcquireError::find`] returns it.
    fn from(error: AcquireError) -> Self {
        let kind = match error.kind {
            AcquireKind::TimedOut | AcquireKind::NoAnswer => io::ErrorKind::TimedOut,
            AcquireKind::Closed | AcquireKind::NotStarted => io::ErrorKind::NotConnected,
            AcquireKind::Connect => io::ErrorKind::ConnectionRefused,
        };
        Self::Io(io::Error::new(kind, error))
    }
}
