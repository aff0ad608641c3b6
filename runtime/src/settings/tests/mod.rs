//! Tests of the settings. Each has sources of its own: a directory and an environment.

mod bad_input;
mod hosts;
mod in_test;
mod migrations;
mod nodes;
mod precedence;
mod secrets;
mod sharing;
mod sources;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::layers::Layers;
use super::sources::{Sources, Surroundings};
use super::{EngineSettings, Settings, SettingsError};

/// A working directory and an environment; dropping it removes the directory.
struct TestSources {
    root: PathBuf,
    surroundings: Surroundings,
}

impl TestSources {
    /// An empty directory and an empty environment.
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "poolhouse-settings-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let root = std::env::temp_dir().join(name);
        fs::create_dir_all(&root).unwrap();
        let surroundings = Surroundings {
            directory: root.clone(),
            variables: vec![],
        };
        Self { root, surroundings }
    }

    /// Sources with a URL for the default engine, which reading most settings requires.
    fn with_url() -> Self {
        Self::new().variable("DATABASE_URL", "sqlite::memory:")
    }

    fn file(self, name: &str, text: &str) -> Self {
        let path = self.root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        let variables = &mut self.surroundings.variables;
        variables.retain(|(known, _)| known != name);
        variables.push((name.to_owned(), value.into()));
        self
    }

    /// Creates a directory below the working directory and makes it the working directory.
    fn enter(mut self, directory: impl AsRef<Path>) -> Self {
        self.surroundings.directory.push(directory);
        fs::create_dir_all(&self.surroundings.directory).unwrap();
        self
    }

    fn resolve(&self, code: &Settings) -> Result<EngineSettings, SettingsError> {
        EngineSettings::read(&self.layers(code)?, None)
    }

    fn layers(&self, code: &Settings) -> Result<Layers, SettingsError> {
        Layers::collect(code, &Sources::read(self.surroundings.clone())?, None)
    }

    /// The settings of the default engine without any in code.
    fn settings(&self) -> EngineSettings {
        self.resolve(&Settings::new()).unwrap()
    }

    /// The message of the error, with `ROOT` for the temporary directory.
    fn error(&self, code: &Settings) -> String {
        match self.resolve(code) {
            Ok(settings) => panic!("no error: {settings:?}"),
            Err(error) => error
                .to_string()
                .replace(&format!("{}", self.root.display()), "ROOT"),
        }
    }
}

impl Drop for TestSources {
    fn drop(&mut self) {
        // A leftover directory is harmless.
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Settings, and the file and line they are given on, as a source shows it.
#[track_caller]
fn at(code: Settings) -> (Settings, String) {
    let here = std::panic::Location::caller();
    (code, format!("{}:{}", here.file(), here.line()))
}
