//! Settings behind a pooler, and straight to the server.

use super::engine::EngineSettings;
use super::error::SettingsError;
use super::migrations::Migrations;
use super::words::TestIsolation;

impl EngineSettings {
    /// Refuses settings that need a session, which a pooler does not keep.
    pub(super) fn check_pooler(&self, in_test: bool) -> Result<(), SettingsError> {
        let no_session = |setting, cure| {
            Err(SettingsError::NoSession {
                engine: self.engine.clone(),
                setting: self.describe(setting),
                pooler: self.describe("pooler"),
                cure,
            })
        };
        if self.pooler.is_none() {
            return Ok(());
        }
        if self.session.is_some() {
            return no_session(
                "session",
                "use ALTER ROLE … SET or ALTER DATABASE … SET on the server, or SET LOCAL in a transaction",
            );
        }
        if self.direct_url.is_some() {
            return Ok(());
        }
        if in_test && self.isolation != TestIsolation::None {
            return no_session(
                "isolation",
                "set `direct_url` to the URL past the pooler; tests get their databases there",
            );
        }
        if !matches!(self.migrations, Migrations::None) {
            return no_session(
                "migrations",
                "set `direct_url` to the URL past the pooler; they run there",
            );
        }
        Ok(())
    }

    /// The same settings for connections straight to the server; `None` without a `direct_url`.
    pub(crate) fn past_the_pooler(&self) -> Option<Self> {
        let direct = self.direct_url.clone()?;
        let mut settings = self.clone();
        let source = self.shown("direct_url").map(|shown| shown.source.clone());
        settings.move_to(direct);
        if let Some(source) = source
            && let Some(shown) = settings.shown.iter_mut().find(|shown| shown.name == "url")
        {
            shown.source = source;
            shown.written_as = "direct_url";
        }
        settings.shown.retain(|shown| shown.name != "direct_url");
        settings.direct_url = None;
        settings.pooler = None;
        settings.is_past_pooler = true;
        Some(settings)
    }
}
