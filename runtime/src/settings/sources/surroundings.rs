//! What the settings can see of the process: its working directory and its environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A snapshot of the working directory and the environment, so that a test can state its own.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(in crate::settings) directory: PathBuf,
    /// In no order: most of them are never looked at, and every test of a program takes them down.
    pub(in crate::settings) variables: Vec<(String, OsString)>,
}

impl Surroundings {
    /// Those of this process, now.
    ///
    /// A variable whose name is not Unicode cannot be one of ours and is left out.
    pub(crate) fn of_process() -> Self {
        Self {
            // Without a working directory (it was removed) nothing can be found upwards from it, and relative paths
            // mean what the operating system says.
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

    /// A path as written by someone in the working directory.
    pub(in crate::settings) fn path(&self, written: impl AsRef<Path>) -> PathBuf {
        self.directory.join(written)
    }
}
