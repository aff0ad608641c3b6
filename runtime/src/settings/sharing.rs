//! Whether two starts of one engine have the same settings.

use super::engine::EngineSettings;
use super::error::SettingsError;

impl EngineSettings {
    /// Whether these settings can share the pool that was started with `started`.
    ///
    /// They can when each setting that is set here has the same value there, from any source. A setting that is not set
    /// here matches any value.
    ///
    /// # Errors
    /// [`SettingsError::Differ`], with every setting that differs.
    pub(crate) fn same_as(&self, started: &Self) -> Result<(), SettingsError> {
        // Code under test that starts its engine gets the test's engine, which has settings of its own.
        if started.isolated {
            return Ok(());
        }
        let asked = self.shown.iter().filter(|shown| !shown.source.is_default());
        let mut differences: Vec<_> = asked
            .filter(|asked| match asked.name {
                // The shown text of these is not complete.
                "url" => self.url != started.url,
                "session" => self.session != started.session,
                "extensions" => self.extensions != started.extensions,
                "application_name" => self.application_name != started.application_name,
                "direct_url" => self.direct_url != started.direct_url,
                "migrations" => !self.migrations.same_as(&started.migrations),
                name => started
                    .shown(name)
                    .is_none_or(|shown| shown.value() != asked.value()),
            })
            .map(|asked| format!("{asked}, started with {}", started.describe(asked.name)))
            .collect();
        for (name, node) in &self.nodes {
            let Some(node) = node else { continue };
            let same = started.nodes.iter().any(|(known, other)| {
                known == name && other.as_ref().is_none_or(|other| other.url == node.url)
            });
            if !same {
                differences.push(format!("node `{name}`: {}", node.describe("url")));
            }
        }
        let hooks = [
            ("connect_with", &self.connect, &started.connect),
            ("before_connect", &self.before, &started.before),
        ];
        for (setting, ours, theirs) in hooks {
            let others = ours
                .iter()
                .filter(|hook| !theirs.iter().any(|other| hook.same_as(other)));
            differences.extend(
                others.map(|hook| format!("{setting} ({}), started with another", hook.source)),
            );
        }
        if differences.is_empty() {
            return Ok(());
        }
        let engine = self.engine.clone();
        Err(SettingsError::Differ {
            engine,
            differences: differences.join("; "),
        })
    }
}
