//! The error when there is no private server.

use std::io;
use std::path::Path;

/// The variable that names another folder for the files of running servers.
pub(super) const FOLDER_VARIABLE: &str = "POOLHOUSE_EPHEMERAL_DIR";

/// Why there is no server, and what to do.
#[derive(Clone, Debug)]
pub(super) struct NoServer {
    pub(super) what: String,
    pub(super) cure: String,
    /// Whether the next test would fail the same way.
    pub(super) lasts: bool,
}

impl NoServer {
    /// A failure that lasts.
    pub(super) fn new(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            cure: cure.into(),
            lasts: true,
        }
    }

    /// The same failure, of a kind that may not last.
    pub(super) fn for_now(self) -> Self {
        Self {
            lasts: false,
            ..self
        }
    }
}

/// Describes a folder that cannot be made, or in which a file cannot be made, read or written.
pub(super) fn in_folder(folder: &Path) -> impl Fn(io::Error) -> NoServer + '_ {
    |error| {
        let cure = match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => "Make room there".to_owned(),
            _ => {
                format!(
                    "Give this user the right to write there, or another folder in {FOLDER_VARIABLE}"
                )
            }
        };
        let what = format!(
            "the folder {} of a private server: {error}",
            folder.display()
        );
        NoServer::new(what, cure).for_now()
    }
}

/// The URL of a private server, or why there is none.
pub(super) type ServerUrl = Result<String, NoServer>;
