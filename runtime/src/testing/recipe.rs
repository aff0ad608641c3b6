//! Recipes: the initial content of a test's database.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, LazyLock, Mutex};

use sha2::{Digest, Sha256};

use crate::engine::{Base, engine_of};
use crate::error::{Error, TestError, TestKind};
use crate::lock::lock;
use crate::settings::{DatabaseUrl, EngineSettings};

/// The version of recipes, changed when this crate must not use databases made by an older version of it.
const VERSION: &str = "10";

/// The fingerprints that this process has computed, by the hashed bytes. Many tests share one.
///
/// They are cached because SHA-256 is slow in unoptimized builds, such as those of tests.
static FINGERPRINTS: LazyLock<Mutex<HashMap<Vec<u8>, String>>> = LazyLock::new(Mutex::default);

/// Migrations, extensions and fixtures, which fill an empty database.
pub(crate) struct Recipe {
    pub(super) settings: Arc<EngineSettings>,
    /// The bytes that the fingerprint covers.
    parts: Vec<u8>,
}

impl Recipe {
    /// Reads the migrations, extensions and fixture scripts of these settings.
    pub(super) async fn new(settings: Arc<EngineSettings>) -> Result<Self, Error> {
        let migrator = settings.migrator().await?;
        let mut parts = Vec::new();
        let mut add = |part: &[u8]| {
            // The length separates the parts, so that different parts never give the same bytes.
            parts.extend_from_slice(&part.len().to_be_bytes());
            parts.extend_from_slice(part);
        };
        add(VERSION.as_bytes());
        if let Some(migrator) = &migrator {
            // The names come from `sqlx.toml`.
            add(migrator.table_name.as_bytes());
            add(&migrator.create_schemas.len().to_be_bytes());
            for schema in migrator.create_schemas.iter() {
                add(schema.as_bytes());
            }
        }
        for migration in migrator.iter().flat_map(|migrator| migrator.iter()) {
            add(&migration.version.to_be_bytes());
            add(migration.description.as_bytes());
            add(migration.migration_type.suffix().as_bytes());
            add(&migration.checksum);
        }
        // They may decide where a script makes its tables, and what these hold.
        add(settings.session.as_deref().unwrap_or_default().as_bytes());
        let (_, parameters) = settings.url.expose().split_once('?').unwrap_or_default();
        add(parameters.as_bytes());
        for extension in &settings.extensions {
            add(extension.as_bytes());
        }
        for (name, sql) in settings.fixtures.scripts() {
            add(name.as_bytes());
            add(sql.as_bytes());
        }
        Ok(Self { settings, parts })
    }

    /// The fingerprint of the database's content, of the server's own part, such as its version, and of the
    /// [options](super::options::of_fingerprint) of connections.
    pub(super) fn fingerprint(&self, of_server: &str, of_options: &str) -> String {
        let parts = [
            &self.parts,
            of_server.as_bytes(),
            b"\n",
            of_options.as_bytes(),
        ]
        .concat();
        let mut known = lock(&FINGERPRINTS);
        let known = known.entry(parts);
        known.or_insert_with_key(|parts| hex(parts)).clone()
    }

    /// Fills the empty database at this URL. All sessions on it are closed when this returns.
    ///
    /// # Errors
    ///
    /// The migration or the fixture that failed, with its file and line; an extension that cannot be created.
    pub(super) async fn fill(&self, url: DatabaseUrl) -> Result<(), Error> {
        let mut settings = EngineSettings::clone(&self.settings);
        settings.url = url;
        // One connection is enough for scripts in sequence, and none is needed after them.
        settings.max_size = 1;
        settings.min_size = 0;
        settings.lazy = false;
        settings.fills_template = true;
        let settings = Arc::new(settings);
        let engine = engine_of(Arc::clone(&settings))?;
        engine.start_with(settings, Base::Own).await?;
        let mut outcome = Ok(());
        for (name, sql) in self.settings.fixtures.scripts() {
            if let Err((line, error)) = engine.run_script(sql).await {
                let line = line
                    .map(|line| format!(", line {line}"))
                    .unwrap_or_default();
                let what = format!("the fixture {name}{line} failed: {error}");
                let cure = "Correct the fixture";
                let failed = TestError::new(&self.settings, TestKind::Fixture, what, cure);
                outcome = Err(match error {
                    Error::Database(error) => failed.because_of(error).into(),
                    _ => failed.into(),
                });
                break;
            }
        }
        engine
            .close(&tokio_util::sync::CancellationToken::new())
            .await;
        outcome
    }
}

/// The first 64 bits of a hash of these bytes, in hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    // 64 bits distinguish a few thousand recipes, and leave room in a database's name.
    for byte in &Sha256::digest(bytes)[..8] {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
