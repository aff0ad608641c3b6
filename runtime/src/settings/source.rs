//! Where a value comes from.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::path::Path;

/// The place a value was written at, in the words that logs and errors use: `attribute, src/main.rs:7`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source(Cow<'static, str>);

impl Source {
    /// The value is the built-in one.
    pub(crate) fn default_value() -> Self {
        Self("default".into())
    }

    /// `attribute, src/main.rs:7` or `builder, src/db.rs:12`.
    pub(super) fn code(label: &str, location: &Location<'_>) -> Self {
        Self(format!("{label}, {}:{}", location.file(), location.line()).into())
    }

    /// `poolhouse.toml:4`, relative to the working directory where the file is below it.
    pub(super) fn file(path: &Path, line: usize, directory: &Path) -> Self {
        Self(format!("{}:{line}", shown_path(path, directory)).into())
    }

    /// `environment, POOLHOUSE_MAX_SIZE`.
    pub(super) fn environment(variable: &str) -> Self {
        Self(format!("environment, {variable}").into())
    }

    /// `.env:3, DATABASE_URL`.
    pub(super) fn dot_env(path: &Path, line: usize, variable: &str, directory: &Path) -> Self {
        Self(format!("{}:{line}, {variable}", shown_path(path, directory)).into())
    }

    /// A source that was stored as text beside its value.
    pub(super) fn from_text(text: String) -> Self {
        Self(text.into())
    }

    /// Whether nobody set the value.
    pub(crate) fn is_default(&self) -> bool {
        self.0 == "default"
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A path as a person in the working directory would write it, if that is shorter.
pub(super) fn shown_path(path: &Path, directory: &Path) -> String {
    path.strip_prefix(directory)
        .unwrap_or(path)
        .display()
        .to_string()
}
