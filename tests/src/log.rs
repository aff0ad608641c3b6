//! A server's log.

use std::{fs, path::PathBuf};

use anyhow::Context;

/// The log file of a server.
#[derive(Clone, Debug)]
pub struct Log {
    path: PathBuf,
}

impl Log {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The path of the file.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// The lines that contain all of `words`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn lines_with(&self, words: &[&str]) -> anyhow::Result<Vec<String>> {
        let bytes =
            fs::read(&self.path).with_context(|| format!("cannot read {}", self.path.display()))?;
        Ok(String::from_utf8_lossy(&bytes)
            .lines()
            .filter(|line| words.iter().all(|word| line.contains(word)))
            .map(str::to_owned)
            .collect())
    }
}
