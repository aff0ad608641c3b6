//! A start that failed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::text::{in_parentheses, sentence, whole_millis};
use crate::dialect::{Diagnosis, Dialect, SchemeError, own_message};
use crate::settings::EngineSettings;

/// Why a pool could not be started.
#[derive(Clone)]
pub struct StartError {
    engine: String,
    kind: StartKind,
    what: String,
    cure: String,
    /// The URL setting as errors show it, without its password.
    url: String,
    cause: Option<Arc<sqlx::Error>>,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            engine,
            what,
            cure,
            url,
            ..
        } = self;
        write!(
            f,
            "engine `{engine}`: its pool could not be started: {what}. {cure}. {url}"
        )
    }
}

impl std::error::Error for StartError {
    /// The driver's error, if there is one: a [`sqlx::Error`].
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let cause: &sqlx::Error = self.cause.as_deref()?;
        Some(cause)
    }
}

/// The kinds of [`StartError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartKind {
    /// The server could not be reached, or had no room, until `start_timeout` was over. A later start may succeed.
    Unavailable,
    /// The server or the driver refused the connection, for example because of its password. A later start fails as well.
    Refused,
    /// The URL is of no known database, or the driver cannot use it.
    Url,
    /// `poolhouse` was built without the database of the URL.
    FeatureOff,
    /// The code requires another database than the configured one.
    WrongDatabase,
    /// A setting conflicts with the use of the engine.
    Unsupported,
    /// A migration failed.
    Migrations,
    /// The engine was closed, or its runtime ended, during the start.
    Cancelled,
}

/// How often and for how long a connection was tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) attempts: u32,
    pub(crate) took: Duration,
}

impl StartError {
    /// Which kind of error this is.
    pub fn kind(&self) -> StartKind {
        self.kind
    }

    /// The name of the engine that could not be started.
    pub fn engine(&self) -> &str {
        &self.engine
    }

    fn new(
        settings: &EngineSettings,
        kind: StartKind,
        what: String,
        cure: impl Into<String>,
    ) -> Self {
        Self {
            engine: settings.engine.clone(),
            kind,
            what,
            cure: sentence(&cure.into()),
            url: settings.describe("url"),
            cause: None,
        }
    }

    fn because_of(mut self, cause: Option<Arc<sqlx::Error>>) -> Self {
        self.cause = cause;
        self
    }

    pub(crate) fn connect(
        settings: &EngineSettings,
        dialect: &Dialect,
        diagnosis: &Diagnosis,
        tries: Effort,
        cause: Option<Arc<sqlx::Error>>,
    ) -> Self {
        let Diagnosis { what, cure, .. } = diagnosis;
        let own = cause.as_deref().and_then(own_message);
        let detail = in_parentheses(own.as_deref());
        let name = dialect.name;
        let effort = if diagnosis.retry {
            let Effort { attempts, took } = tries;
            let took = whole_millis(took);
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
            if diagnosis.retry {
                StartKind::Unavailable
            } else {
                StartKind::Refused
            },
            format!("{name}: {what}{detail}{effort}"),
            cure.clone(),
        )
        .because_of(cause.filter(|_| own.is_none()))
    }

    pub(crate) fn scheme(settings: &EngineSettings, error: &SchemeError) -> Self {
        match error {
            SchemeError::Unknown { known } => Self::unknown_scheme(settings, known),
            SchemeError::FeatureOff(dialect) => Self::feature_off(settings, dialect),
        }
    }

    fn unknown_scheme(settings: &EngineSettings, known: &[&str]) -> Self {
        let scheme = settings.url.scheme();
        let guess = known
            .iter()
            .map(|known| (strsim::jaro_winkler(known, scheme), known))
            .filter(|(likeness, _)| *likeness > 0.8)
            .max_by(|(one, _), (other, _)| one.total_cmp(other))
            .map(|(_, known)| format!(" (did you mean `{known}`?)"));
        // Without `://` and a similar scheme, the text may be anything, so it is not shown.
        let is_url = settings.url.expose()[scheme.len()..].starts_with("://");
        let what = if is_url || guess.is_some() {
            let guess = guess.unwrap_or_default();
            format!("no database has the url scheme `{scheme}`{guess}")
        } else {
            "no database has the scheme of the url".to_owned()
        };
        Self::new(
            settings,
            StartKind::Url,
            what,
            format!("begin the url with one of: {}", known.join(", ")),
        )
    }

    pub(crate) fn feature_off(settings: &EngineSettings, dialect: &Dialect) -> Self {
        let Dialect { name, feature, .. } = dialect;
        Self::new(
            settings,
            StartKind::FeatureOff,
            format!("the url is one of {name}, and the crate `poolhouse` was built without it"),
            format!("enable the feature `{feature}` of `poolhouse` in Cargo.toml"),
        )
    }

    pub(crate) fn wrong_kind(settings: &EngineSettings, configured: &str, wanted: &str) -> Self {
        Self::new(
            settings,
            StartKind::WrongDatabase,
            format!("it is configured for {configured}, and the code asks for {wanted}"),
            format!("configure a {wanted} url, or ask for an engine of {configured}"),
        )
    }

    pub(crate) fn no_pooler(settings: &EngineSettings, kind: &str) -> Self {
        Self::new(
            settings,
            StartKind::Unsupported,
            format!(
                "{} is for an engine of Postgres (`PgEngine`), and this one is of {kind}",
                settings.describe("pooler")
            ),
            "remove `pooler`, or ask for a `PgEngine`",
        )
    }

    pub(crate) fn pooler_under_sqlx(settings: &EngineSettings) -> Self {
        Self::new(
            settings,
            StartKind::Unsupported,
            format!(
                "a `sqlx::Pool` parameter wants it to run on a `sqlx::Pool`, whose statements are not safe with {}",
                settings.describe("pooler")
            ),
            "take an engine parameter instead of the `sqlx::Pool`",
        )
    }

    pub(crate) fn options(settings: &EngineSettings, error: &sqlx::Error) -> Self {
        let error = error.to_string();
        let error = settings.without_secrets(&error).unwrap_or(error);
        Self::new(
            settings,
            StartKind::Url,
            format!("the driver does not accept the url: {error}"),
            "correct the url and its query parameters",
        )
    }

    pub(crate) fn hosts(settings: &EngineSettings, problem: &str) -> Self {
        let known = settings.without_secrets(problem);
        let problem = known.as_deref().unwrap_or(problem);
        Self::new(
            settings,
            StartKind::Url,
            format!("the hosts of the url are not clear: {problem}"),
            "correct that part of the url; several hosts are written as host1:port1,host2:port2",
        )
    }

    pub(crate) fn hosts_under_sqlx(settings: &EngineSettings) -> Self {
        Self::new(
            settings,
            StartKind::Unsupported,
            "a `sqlx::Pool` parameter wants it to run on a `sqlx::Pool`, which supports one host and does not check its role".to_owned(),
            "take an engine parameter instead of the `sqlx::Pool`, or give one host",
        )
    }

    pub(crate) fn credentials_under_sqlx(settings: &EngineSettings) -> Self {
        Self::new(
            settings,
            StartKind::Unsupported,
            "a `sqlx::Pool` parameter wants it to run on a `sqlx::Pool`, which does not call before_connect".to_owned(),
            "take an engine parameter instead of the `sqlx::Pool`",
        )
    }

    pub(crate) fn migrations(
        settings: &EngineSettings,
        location: Option<&str>,
        error: sqlx::Error,
    ) -> Self {
        let at = location.map(|at| format!(": {at}")).unwrap_or_default();
        Self::new(
            settings,
            StartKind::Migrations,
            format!(
                "a migration failed{at}; {}",
                settings.describe("migrations")
            ),
            "correct the migration, or the database that it does not fit",
        )
        .because_of(Some(Arc::new(error)))
    }

    pub(crate) fn cancelled(settings: &EngineSettings) -> Self {
        Self::new(
            settings,
            StartKind::Cancelled,
            "it was closed, or its runtime ended, while it was being started".to_owned(),
            "start it again, or end its users before it is closed",
        )
    }

    pub(crate) fn not_on_sqlx(settings: &EngineSettings) -> Self {
        Self::new(
            settings,
            StartKind::Unsupported,
            "a `sqlx::Pool` parameter wants it to run on a `sqlx::Pool`, and it is already started on its own pool".to_owned(),
            "take the `sqlx::Pool` where the engine is started first, or give this use an engine name of its own",
        )
    }
}
