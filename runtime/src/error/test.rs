//! Why a test got no database.

use std::fmt;

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
