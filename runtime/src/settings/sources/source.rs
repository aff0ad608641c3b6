//! The source of a value.

use std::fmt;
use std::panic::Location;
use std::path::Path;

/// The source of a value. Logs and errors show it as `attribute, src/main.rs:7`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Not set: the built-in default.
    Default,
    /// `attribute, src/main.rs:7` or `builder, src/db.rs:12`.
    Code {
        label: &'static str,
        location: &'static Location<'static>,
    },
    /// `poolhouse.toml:4`.
    File { path: String, line: usize },
    /// `environment, POOLHOUSE_MAX_SIZE`.
    Environment { variable: String },
    /// `.env:3, DATABASE_URL`.
    DotEnv {
        path: String,
        line: usize,
        variable: String,
    },
}

impl Source {
    /// Whether the value is the default.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::Default
    }

    /// Whether the code gives the value.
    pub(crate) fn is_code(&self) -> bool {
        matches!(self, Self::Code { .. })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Code { label, location } => {
                write!(f, "{label}, {}:{}", location.file(), location.line())
            }
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Environment { variable } => write!(f, "environment, {variable}"),
            Self::DotEnv {
                path,
                line,
                variable,
            } => write!(f, "{path}:{line}, {variable}"),
        }
    }
}

/// A path, relative to the working directory if it is below that directory.
pub(super) fn shown_path(path: &Path, directory: &Path) -> String {
    path.strip_prefix(directory)
        .unwrap_or(path)
        .display()
        .to_string()
}
