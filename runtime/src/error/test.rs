//! Why a test got no database.

use std::fmt;
use std::sync::Arc;

use sqlx::error::DatabaseError;

use crate::dialect::message;
#[cfg(feature = "testing")]
use crate::dialect::one_line;
use crate::settings::{EngineSettings, conceal};

/// Why a test got no database of its own, or could not give it back as it was.
#[derive(Clone, thiserror::Error)]
#[error("engine `{engine}`: {what}. {cure}. {url}")]
pub struct TestError {
    engine: String,
    kind: TestKind,
    what: String,
    cure: String,
    /// The URL setting as errors show it, without its password.
    url: String,
    /// The server's or the driver's error, which is also part of `what`.
    #[cfg_attr(
        not(all(feature = "testing", any(feature = "postgres", feature = "mysql"))),
        allow(dead_code, reason = "templates alone use it")
    )]
    cause: Option<Arc<sqlx::Error>>,
}

/// The kinds of [`TestError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TestKind {
    /// There is no server or folder for tests: a private server does not start, or a folder cannot be written.
    Unavailable,
    /// Tests cannot have databases of their own at the URL, or `connect_with` leads away from them.
    Url,
    /// The user has no right to make databases, or an extension in them.
    MissingRight,
    /// A database could not be made for another reason.
    NotMade,
    /// A fixture failed.
    Fixture,
    /// The transaction of a test with `isolation = "rollback"` has ended before the test.
    TransactionEnded,
}

impl TestError {
    /// Which kind of error this is.
    pub fn kind(&self) -> TestKind {
        self.kind
    }

    /// The name of the engine whose test database is concerned.
    pub fn engine(&self) -> &str {
        &self.engine
    }

    pub(crate) fn new(
        settings: &EngineSettings,
        kind: TestKind,
        what: impl fmt::Display,
        cure: impl fmt::Display,
    ) -> Self {
        Self {
            engine: settings.engine.clone(),
            kind,
            what: format!("no database for the test: {what}"),
            cure: cure.to_string(),
            url: settings.describe("url"),
            cause: None,
        }
    }

    /// The same error, with its cause.
    #[cfg(feature = "testing")]
    pub(crate) fn because_of(mut self, cause: sqlx::Error) -> Self {
        self.cause = Some(Arc::new(cause));
        self
    }

    /// The error of the server or the driver, if it is known.
    #[cfg(all(feature = "testing", any(feature = "postgres", feature = "mysql")))]
    pub(crate) fn database_error(&self) -> Option<&sqlx::Error> {
        self.cause.as_deref()
    }

    /// An extension that cannot be created in a template.
    pub(crate) fn extension(settings: &EngineSettings, name: &str, error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(DatabaseError::code);
        // <https://www.postgresql.org/docs/current/errcodes-appendix.html>
        let (kind, cure) = if code.as_deref() == Some("42501") {
            let cure = "Let an administrator create it in the database template1, of which the databases of tests are copies";
            (TestKind::MissingRight, cure)
        } else {
            (TestKind::NotMade, "Install it on the server")
        };
        Self {
            engine: settings.engine.clone(),
            kind,
            what: format!(
                "no database for the test: the extension {} cannot be created ({}): {}",
                conceal(name),
                settings.describe("extensions"),
                conceal(&message(&error)),
            ),
            cure: format!("{cure}; or write extensions = [] for a test that does without it"),
            url: settings.describe("url"),
            cause: Some(Arc::new(error)),
        }
    }

    /// The transaction to be rolled back at the end of the test has ended before.
    #[cfg(feature = "testing")]
    pub(crate) fn transaction_ended(settings: &EngineSettings, statement: Option<&str>) -> Self {
        let by = match statement {
            Some(sql) => format!(
                "the statement that may have ended it is `{}`",
                one_line(sql)
            ),
            None => "the statement that has ended it did not run through the engine".to_owned(),
        };
        Self {
            engine: settings.engine.clone(),
            kind: TestKind::TransactionEnded,
            what: format!(
                "the test is to be rolled back ({}), but its transaction ended before the test did, and what was written \
                 before may be committed; {by}",
                settings.describe("isolation")
            ),
            cure: "A COMMIT, and on MySQL and MariaDB a definition such as CREATE TABLE, needs isolation = \"database\". The \
                   test's database is dropped"
                .to_owned(),
            url: settings.describe("url"),
            cause: None,
        }
    }
}
