//! Errors, by the phase in which they happen. Each says what happened, to which engine, from which setting and source,
//! and what to do. None contains a password.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::backend::{Diagnosis, Dialect, words};
use crate::pool::{Holder, Status};
use crate::settings::{EngineSettings, SettingsError};
use crate::testing::TestError;

/// Everything that can go wrong with an engine.
///
/// It converts into [`sqlx::Error`], so that a function that returns `sqlx::Result` can be attributed, and into
/// `anyhow::Error` and `Box<dyn Error>`.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is missing or wrong. Nothing was opened.
    #[error(transparent)]
    Settings(Box<SettingsError>),
    /// The pool could not be started. What was opened is closed again.
    #[error(transparent)]
    Start(Box<StartError>),
    /// There was no connection for a checkout.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
    /// The engine is used in a way that it cannot be used.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// A test got no database.
    #[error(transparent)]
    Test(Box<TestError>),
    /// The database or its driver reported an error.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<SettingsError> for Error {
    fn from(error: SettingsError) -> Self {
        Self::Settings(Box::new(error))
    }
}

impl From<TestError> for Error {
    fn from(error: TestError) -> Self {
        Self::Test(Box::new(error))
    }
}

impl From<StartError> for Error {
    fn from(error: StartError) -> Self {
        Self::Start(Box::new(error))
    }
}

/// Why a pool could not be started.
#[derive(Clone, thiserror::Error)]
#[error("engine `{engine}`: its pool could not be started: {what}. {cure}. {url}")]
pub struct StartError {
    engine: String,
    what: String,
    cure: String,
    /// The URL setting as errors show it, without its password.
    url: String,
}

/// How often and for how long a connection was tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tries {
    pub(crate) attempts: u32,
    pub(crate) took: Duration,
}

impl StartError {
    fn new(settings: &EngineSettings, what: String, cure: impl Into<String>) -> Self {
        Self {
            engine: settings.engine.clone(),
            what,
            cure: sentence(&cure.into()),
            url: settings.describe("url"),
        }
    }

    pub(crate) fn connect(
        settings: &EngineSettings,
        dialect: &Dialect,
        diagnosis: &Diagnosis,
        tries: Tries,
        cause: &str,
    ) -> Self {
        let Diagnosis { what, cure, .. } = diagnosis;
        let name = dialect.name;
        let effort = if diagnosis.retry {
            let Tries { attempts, took } = tries;
            let took = humantime::format_duration(Duration::from_millis(
                u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            ));
            let times = if attempts == 1 { "once" } else { "times" };
            let attempts = if attempts == 1 {
                String::new()
            } else {
                format!("{attempts} ")
            };
            format!(
                ", tried {attempts}{times} in {took}; {}",
                settings.describe("start_timeout")
            )
        } else {
            String::new()
        };
        Self::new(
            settings,
            format!("{name}: {what} ({cause}){effort}"),
            cure.clone(),
        )
    }

    pub(crate) fn unknown_scheme(settings: &EngineSettings, known: &[&str]) -> Self {
        let scheme = settings.url.scheme();
        let guess = known
            .iter()
            .map(|known| (strsim::jaro_winkler(known, scheme), known))
            .filter(|(likeness, _)| *likeness > 0.8)
            .max_by(|(one, _), (other, _)| one.total_cmp(other))
            .map(|(_, known)| format!(" (did you mean `{known}`?)"))
            .unwrap_or_default();
        Self::new(
            settings,
            format!("no database has the url scheme `{scheme}`{guess}"),
            format!("begin the url with one of: {}", known.join(", ")),
        )
    }

    pub(crate) fn feature_off(settings: &EngineSettings, dialect: &Dialect) -> Self {
        let Dialect { name, feature, .. } = dialect;
        Self::new(
            settings,
            format!("the url is one of {name}, and the crate `poolhouse` was built without it"),
            format!("enable the feature `{feature}` of `poolhouse` in Cargo.toml"),
        )
    }

    pub(crate) fn wrong_kind(settings: &EngineSettings, configured: &str, wanted: &str) -> Self {
        Self::new(
            settings,
            format!("it is configured for {configured}, and the code asks for {wanted}"),
            format!("configure a {wanted} url, or ask for an engine of {configured}"),
        )
    }

    pub(crate) fn options(settings: &EngineSettings, error: &sqlx::Error) -> Self {
        Self::new(
            settings,
            format!("the driver does not accept the url: {error}"),
            "correct the url and its query parameters",
        )
    }

    pub(crate) fn pool(settings: &EngineSettings, problem: &str) -> Self {
        Self::new(
            settings,
            format!("no pool can be built: {problem}"),
            "correct its settings",
        )
    }

    pub(crate) fn migrations(
        settings: &EngineSettings,
        place: Option<&str>,
        error: &dyn fmt::Display,
    ) -> Self {
        let place = place.map(|place| format!("{place}: ")).unwrap_or_default();
        Self::new(
            settings,
            format!(
                "a migration failed: {place}{error}; {}",
                settings.describe("migrations")
            ),
            "correct the migration, or the database that it does not fit",
        )
    }

    pub(crate) fn not_on_sqlx(settings: &EngineSettings) -> Self {
        Self::new(
            settings,
            "a `sqlx::Pool` parameter wants it to run on a `sqlx::Pool`, and it is already started on its own pool".to_owned(),
            "take the `sqlx::Pool` where the engine is started first, or give this use an engine name of its own",
        )
    }
}

/// Why there was no connection for a checkout.
#[derive(thiserror::Error)]
#[error("engine `{engine}`: {reason}")]
pub struct AcquireError {
    engine: String,
    kind: AcquireKind,
    reason: String,
    #[source]
    cause: Option<Box<sqlx::Error>>,
}

/// The kinds of [`AcquireError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcquireKind {
    /// The pool is closed, or is being closed.
    Closed,
    /// All places were taken until `acquire_timeout` was over.
    TimedOut,
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

    /// The error inside a [`sqlx::Error`] that a query on the engine returned, if it is one of these.
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
            reason: "its pool is closed. Whoever started it has ended; start it again, or end this task before".to_owned(),
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

    pub(crate) fn timed_out(
        settings: &EngineSettings,
        status: &Status,
        longest: Option<(Holder, Duration)>,
    ) -> Self {
        let longest = longest
            .map(|(holder, held)| {
                let held =
                    Duration::from_millis(u64::try_from(held.as_millis()).unwrap_or(u64::MAX));
                format!(
                    "; held longest: {holder}, for {}",
                    humantime::format_duration(held)
                )
            })
            .unwrap_or_default();
        Self {
            engine: settings.engine.clone(),
            kind: AcquireKind::TimedOut,
            reason: format!(
                "no connection became free in time ({}): {status}{longest}. Return connections sooner, or raise {}",
                settings.describe("acquire_timeout"),
                settings.describe("max_size"),
            ),
            cause: None,
        }
    }

    pub(crate) fn connect(
        settings: &EngineSettings,
        diagnosis: &Diagnosis,
        error: sqlx::Error,
    ) -> Self {
        Self {
            engine: settings.engine.clone(),
            kind: AcquireKind::Connect,
            reason: format!(
                "no connection could be opened: {} ({}). {}. {}",
                diagnosis.what,
                words(&error),
                sentence(&diagnosis.cure),
                settings.describe("url")
            ),
            cause: Some(Box::new(error)),
        }
    }
}

/// A use of an engine that cannot work.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum UsageError {
    /// A pool was started where no tokio runtime runs.
    #[error(
        "engine `{engine}`: a pool can only be started inside a tokio runtime. Call it from async code under #[with_pool] or #[tokio::main]"
    )]
    NoRuntime {
        /// The engine's name.
        engine: String,
    },
    /// A pool that is not started was to be changed.
    #[error("engine `{engine}`: its pool is not started, so it cannot be resized. Start it first")]
    NotStarted {
        /// The engine's name.
        engine: String,
    },
    /// A `sqlx::Pool` was to be changed.
    #[error(
        "engine `{engine}`: it runs on a `sqlx::Pool`, which cannot be resized. Take an engine parameter instead of a `sqlx::Pool`"
    )]
    OnSqlx {
        /// The engine's name.
        engine: String,
    },
    /// The operating system refused what a runtime needs.
    #[error("the tokio runtime could not be built: {reason}")]
    Runtime {
        /// The operating system's reason.
        reason: String,
    },
}

/// A program whose `main` returns an error prints its `Debug` form, so that one is for people too.
macro_rules! debug_as_display {
    ($($error:ty),+) => {$(
        impl fmt::Debug for $error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )+};
}

debug_as_display!(
    Error,
    SettingsError,
    StartError,
    AcquireError,
    UsageError,
    TestError
);

impl From<AcquireError> for sqlx::Error {
    /// As [`sqlx::Error::Io`], whose text is ours; [`AcquireError::find`] gets it back.
    fn from(error: AcquireError) -> Self {
        let kind = match error.kind {
            AcquireKind::TimedOut => io::ErrorKind::TimedOut,
            AcquireKind::Closed | AcquireKind::NotStarted => io::ErrorKind::NotConnected,
            AcquireKind::Connect => io::ErrorKind::ConnectionRefused,
        };
        Self::Io(io::Error::new(kind, error))
    }
}

impl From<Error> for sqlx::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Database(error) => error,
            Error::Acquire(error) => error.into(),
            error => Self::Configuration(Box::new(error)),
        }
    }
}

/// A clause with a capital letter.
fn sentence(clause: &str) -> String {
    let mut letters = clause.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}
