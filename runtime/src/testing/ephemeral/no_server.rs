//! The error when there is no private server.

use std::io;

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

impl From<io::Error> for NoServer {
    /// A folder that cannot be made, or a file that cannot be written.
    fn from(error: io::Error) -> Self {
        Self::new(
            format!("the folder of a private server cannot be written: {error}"),
            "Make room in the folder for temporary files",
        )
        .for_now()
    }
}

/// The URL of a private server, or why there is none.
pub(super) type ServerUrl = Result<String, NoServer>;
