//! Errors, by the phase in which they happen. Each says what happened, to which engine, from which setting and source,
//! and what to do. None contains a password.

mod acquire;
mod start;
mod test;
mod transaction;
mod usage;

use std::fmt;
use std::io;

pub use self::acquire::{AcquireError, AcquireKind};
pub use self::start::StartError;
pub(crate) use self::start::Tries;
pub use self::test::TestError;
pub use self::transaction::TransactionError;
pub use self::usage::UsageError;
use crate::settings::SettingsError;

/// Everything that can go wrong with an engine.
///
/// It converts into [`sqlx::Error`] and [`std::io::Error`], so that a function that returns `sqlx::Result` or
/// `std::io::Result` can be attributed, and into `anyhow::Error` and `Box<dyn Error>`.
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
    TransactionError,
    UsageError,
    TestError
);

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

/// A clause with a capital letter.
fn sentence(clause: &str) -> String {
    let mut letters = clause.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}
