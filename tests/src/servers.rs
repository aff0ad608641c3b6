//! The servers that all tests share: those that `tests/run` started, or that the environment names.

use std::{
    env,
    io::{self, Write},
    path::PathBuf,
    sync::Once,
};

use anyhow::Context;

use crate::{Kind, Log, TestDatabase};

/// Set where every server must be had, so that a test without one fails instead of passing without
/// having run.
pub const REQUIRED: &str = "POOLHOUSE_TEST_REQUIRE_SERVERS";

/// The folder for private servers; whoever set it removes it.
pub const FOLDER: &str = "POOLHOUSE_TEST_FOLDER";

/// A running database server, seen by its superuser.
#[derive(Clone, Debug)]
pub struct Server {
    /// Which kind of server it is.
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

    /// A new database with a user of its own, both gone when the value is dropped. `hint` says in
    /// the server's own lists which test it belongs to; letters and digits of it are used.
    ///
    /// # Errors
    /// When the server cannot be reached or the URL's user may not create databases and users.
    pub async fn database(&self, hint: &str) -> anyhow::Result<TestDatabase> {
        TestDatabase::create(self, hint).await
    }

    /// The log, for evidence that only the log has.
    ///
    /// # Errors
    /// When the server was given by URL alone.
    pub fn log(&self) -> anyhow::Result<&Log> {
        self.log.as_ref().with_context(|| {
            format!(
                "this test reads the log of {}: set {} to its path",
                self.kind,
                self.kind.log_variable()
            )
        })
    }

    /// Runs statements as the superuser and returns the rows of the last, as text.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses a statement.
    pub async fn ask(&self, statements: &[String]) -> anyhow::Result<Vec<Vec<Option<String>>>> {
        self.kind.facts().ask(&self.url, statements).await
    }
}

/// The shared server of this kind, or `None` outside `tests/run`, after a line that says so.
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

/// Whether the tests must have their servers.
pub(crate) fn required() -> bool {
    env::var_os(REQUIRED).is_some_and(|value| !value.is_empty())
}

/// Where private servers keep their files.
pub(crate) fn folder() -> PathBuf {
    env::var_os(FOLDER).map_or_else(env::temp_dir, PathBuf::from)
}

/// Says once in this process that tests are left out, past the test harness, which shows no output
/// of a passing test.
pub(crate) fn say_what_is_left_out() {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        let line = "left out: every test that needs Postgres or MariaDB; `tests/run` runs them\n";
        // Nothing depends on this line being seen.
        let _ = io::stderr().write_all(line.as_bytes());
    });
}
