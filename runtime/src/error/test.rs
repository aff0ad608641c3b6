//! Why a test got no database.

use std::fmt;

use crate::settings::EngineSettings;

/// Why a test got no database of its own, or could not give it back as it was.
#[derive(Clone, thiserror::Error)]
#[error("engine `{engine}`: {what}. {cure}. {url}")]
pub struct TestError {
    engine: String,
    what: String,
    cure: String,
    /// The URL setting as errors show it, without its password.
    url: String,
}

impl TestError {
    #[cfg_attr(
        not(feature = "testing"),
        allow(dead_code, reason = "tests alone use it")
    )]
    pub(crate) fn new(
        settings: &EngineSettings,
        what: impl fmt::Display,
        cure: impl fmt::Display,
    ) -> Self {
        Self {
            engine: settings.engine.clone(),
            what: format!("no database for the test: {what}"),
            cure: cure.to_string(),
            url: settings.describe("url"),
        }
    }
    /// The transaction that was to be rolled back at the end of the test has ended before.
    #[cfg(feature = "testing")]
    pub(crate) fn transaction_ended(settings: &EngineSettings, statement: Option<&str>) -> Self {
        let by = match statement {
            Some(sql) => format!(
                "the statement that may have ended it is `{}`",
                sql.split_whitespace().collect::<Vec<_>>().join(" ")
            ),
            None => "the statement that has ended it did not run through the engine".to_owned(),
        };
        Self {
            engine: settings.engine.clone(),
            what: format!(
                "the test is to be rolled back ({}), but its transaction ended before the test did, and what was written \
                 before may be committed; {by}",
                settings.describe("isolation")
            ),
            cure: "A COMMIT, and on MySQL and MariaDB a definition such as CREATE TABLE, needs isolation = \"database\". The \
                   test's database is dropped"
                .to_owned(),
            url: settings.describe("url"),
        }
    }
}
