//! All errors of an engine in one type.

use std::io;

use super::acquire::AcquireError;
use super::start::StartError;
use super::test::TestError;
#[cfg(all(feature = "testing", any(feature = "postgres", feature = "mysql")))]
use super::test::TestKind;
use super::usage::UsageError;
#[cfg(all(feature = "testing", any(feature = "postgres", feature = "mysql")))]
use crate::settings::EngineSettings;
use crate::settings::SettingsError;

/// Any error of an engine.
///
/// It converts into [`sqlx::Error`] and [`std::io::Error`], so that a function that returns `sqlx::Result` or
/// `std::io::Result` can be attributed, and into `anyhow::Error` and `Box<dyn Error>`.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is missing or wrong. Nothing was opened.
    #[error(transparent)]
    Settings(Box<SettingsError>),
    /// The pool could not be started. Open connections are closed again.
    #[error(transparent)]
    Start(Box<StartError>),
    /// There was no connection for a checkout.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
    /// The engine was used in an unsupported way.
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

impl Error {
    /// The same error for another test that fails for the same reason.
    #[cfg(all(feature = "testing", any(feature = "postgres", feature = "mysql")))]
    pub(crate) fn again(&self, settings: &EngineSettings) -> Self {
        match self {
            Self::Start(error) => Self::Start(error.clone()),
            Self::Test(error) => Self::Test(error.clone()),
            error => {
                let cure = "See the server's message and its log";
                TestError::new(settings, TestKind::NotMade, error, cure).into()
            }
        }
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

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}
