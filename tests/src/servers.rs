//! The servers that all tests share: started by `tests/run`, or named by the environment.

use std::{
    env,
    io::{self, Write},
    path::PathBuf,
    sync::Once,
};

use anyhow::Context;

use crate::{Kind, Log, TestDatabase};

/// The variable that requires every server, so that a test without its server fails instead of
/// being skipped.
pub const REQUIRED: &str = "POOLHOUSE_TEST_REQUIRE_SERVERS";

/// The variable with the folder for private servers. The process that sets it removes the folder.
pub const FOLDER: &str = "POOLHOUSE_TEST_FOLDER";

/// A running database server, with its superuser's access.
#[derive(Clone, Debug)]
pub struct Server {
    /// The kind of server.
    pub kind: Kind,
    /// The superuser's URL.
    pub url: String,
    /// The server's log, where it can be read.
    pub log: Option<Log>,
}

impl Server {
    /// The server that the environment names.
    pub fn from_environment(kind: Kind) -> Option<Self> {
        let url = env::var(kind.url_variable())
            .ok()
            .filter(|url| !url.is_empty())?;
        let log = env::var_os(kind.log_variable()).map(|path| Log::new(PathBuf::from(path)));
        Some(Self { kind, url, log })
    }

    /// Creates a database with its own user. Dropping the value removes both. The letters and
    /// digits of `hint` identify the test in the server's lists.
    ///
    /// # Errors
    /// When the server cannot be reached or the URL's user may not create databases and users.
    pub async fn database(&self, hint: &str) -> anyhow::Result<TestDatabase> {
        TestDatabase::create(self, hint).await
    }

    /// The log, for evidence that no query gives.
    ///
    /// # Errors
    /// When the environment names the server but not its log.
    pub fn log(&self) -> anyhow::Result<&Log> {
        self.log.as_ref().with_context(|| {
            format!(
                "this test reads the log of {}: set {} to its path",
                self.kind,
                self.kind.log_variable()
            )
        })
    }

    /// Runs statements as the superuser and returns the rows of the last one, as text.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses a statement.
    pub async fn ask(&self, statements: &[String]) -> anyhow::Result<Vec<Vec<Option<String>>>> {
        self.kind.facts().ask(&self.url, statements).await
    }
}

/// The shared server of this kind, or `None` outside `tests/run`, with a printed line.
///
/// # Panics
/// When there is none although [`REQUIRED`] is set.
pub fn require(kind: Kind) -> Option<Server> {
    let server = Server::from_environment(kind);
    if server.is_none() {
        assert!(
            !required(),
            "{REQUIRED} is set, but {} names no server",
            kind.url_variable()
        );
        say_what_is_left_out();
    }
    server
}

/// Whether the tests require their servers.
pub(crate) fn required() -> bool {
    env::var_os(REQUIRED).is_some_and(|value| !value.is_empty())
}

/// The folder for the files of private servers.
pub(crate) fn folder() -> PathBuf {
    env::var_os(FOLDER).map_or_else(env::temp_dir, PathBuf::from)
}

/// Prints once per process that tests are skipped. The line bypasses the test harness, which hides
/// the output of passing tests.
pub(crate) fn say_what_is_left_out() {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        let line = "left out: every test that needs Postgres or MariaDB; `tests/run` runs them\n";
        // A lost line is harmless.
        let _ = io::stderr().write_all(line.as_bytes());
    });
}
