//! The process as the settings see it: its working directory and its environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A snapshot of the working directory and the environment, so that a test can have its own.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(in crate::settings) directory: PathBuf,
    /// Unsorted: most are never read, and every process of tests takes this snapshot.
    pub(in crate::settings) variables: Vec<(String, OsString)>,
}

impl Surroundings {
    /// Takes a snapshot of this process.
    ///
    /// A variable whose name is not Unicode cannot be a setting and is left out.
    pub(crate) fn of_process() -> Self {
        Self {
            // Without a working directory (it was removed) no file is found upwards, and the operating system resolves
            // relative paths.
            directory: std::env::current_dir().unwrap_or_default(),
            variables: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
                .collect(),
        }
    }

    pub(in crate::settings) fn variable(&self, name: &str) -> Option<&OsString> {
        let mut variables = self.variables.iter();
        variables.find_map(|(known, value)| (known == name).then_some(value))
    }

    /// The nearest file of this name in the working directory or above it.
    pub(in crate::settings) fn find_upwards(&self, name: &str) -> Option<PathBuf> {
        self.directory
            .ancestors()
            .map(|ancestor| ancestor.join(name))
            .find(|path| path.is_file())
    }

    /// Resolves a path from the working directory.
    pub(in crate::settings) fn path(&self, written: impl AsRef<Path>) -> PathBuf {
        self.directory.join(written)
    }
}
