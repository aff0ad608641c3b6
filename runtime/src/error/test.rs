//! Why a test got no database.

use std::fmt;

use super::Error;
use crate::settings::EngineSettings;

/// Why a test got no database of its own.
#[derive(Clone, thiserror::Error)]
#[error("engine `{engine}`: no database for the test: {what}. {cure}. {url}")]
pub struct TestError {
    engine: String,
    what: String,
    cure: String,
    /// The URL setting as errors show it, without its password.
    url: String,
}

impl Error {
    /// The same error for another test that fails for the same reason.
    #[cfg(any(feature = "postgres", feature = "mysql"))]
    pub(crate) fn again(&self, settings: &EngineSettings) -> Self {
        match self {
            Self::Start(error) => Self::Start(error.clone()),
            Self::Test(error) => Self::Test(error.clone()),
            error => TestError::new(settings, error, "See the server's message and its log").into(),
        }
    }
}

impl TestError {
    pub(crate) fn new(
        settings: &EngineSettings,
        what: impl fmt::Display,
        cure: impl fmt::Display,
    ) -> Self {
        Self {
            engine: settings.engine.clone(),
            what: what.to_string(),
            cure: cure.to_string(),
            url: settings.describe("url"),
        }
    }
}
