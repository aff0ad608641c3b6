//! What a database holds when a test gets it.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::error::TestError;
use crate::backend;
use crate::engine::Base;
use crate::error::Error;
use crate::settings::{DatabaseUrl, EngineSettings};

/// Changed when databases made by an older version of this crate must not be used by this one.
const VERSION: &str = "1";

/// Migrations, extensions and fixtures, and how they come into an empty database.
pub(crate) struct Recipe {
    pub(super) settings: EngineSettings,
    fingerprint: Sha256,
}

impl Recipe {
    /// Reads what there is to read.
    pub(super) async fn new(settings: &EngineSettings) -> Result<Self, Error> {
        let mut settings = settings.clone();
        let migrator = settings.migrator().await?;
        // One after the other, and no connection longer than that takes.
        settings.max_size = 1;
        settings.min_size = 0;
        settings.lazy = false;

        let mut fingerprint = Sha256::new();
        let mut add = |part: &[u8]| {
            // With its length, so that what one part ends with is not what the next begins with.
            fingerprint.update(part.len().to_be_bytes());
            fingerprint.update(part);
        };
        add(VERSION.as_bytes());
        for migration in migrator.iter().flat_map(|migrator| migrator.iter()) {
            add(&migration.version.to_be_bytes());
            add(migration.description.as_bytes());
            add(format!("{:?}", migration.migration_type).as_bytes());
            add(&migration.checksum);
        }
        for extension in &settings.extensions {
            add(extension.as_bytes());
        }
        for (name, sql) in settings.fixtures.scripts() {
            add(name.as_bytes());
            add(sql.as_bytes());
        }
        Ok(Self {
            settings,
            fingerprint,
        })
    }

    /// The fingerprint of what the database holds, together with what the server adds, such as its version.
    pub(super) fn fingerprint(&self, of_server: &str) -> String {
        let mut fingerprint = self.fingerprint.clone();
        fingerprint.update(of_server);
        let mut text = String::new();
        // 64 bits tell a few thousand recipes apart, and leave room in a database's name.
        for byte in &fingerprint.finalize()[..8] {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// Fills the empty database at this URL. When it returns, no session on it is left.
    ///
    /// # Errors
    ///
    /// The migration or the fixture that failed, with its file and line.
    pub(super) async fn fill(&self, url: DatabaseUrl) -> Result<(), Error> {
        let mut settings = self.settings.clone();
        settings.url = url;
        let engine = backend::engine_of(settings.clone())?;
        engine.start_with(settings, Base::Own).await?;
        let mut outcome = Ok(());
        for (name, sql) in self.settings.fixtures.scripts() {
            if let Err((line, error)) = engine.run_script(sql).await {
                let line = line
                    .map(|line| format!(", line {line}"))
                    .unwrap_or_default();
                let what = format!("the fixture {name}{line} failed: {error}");
                outcome = Err(TestError::new(&self.settings, what, "Correct the fixture").into());
                break;
            }
        }
        engine
            .close(&tokio_util::sync::CancellationToken::new())
            .await;
        outcome
    }
}
