//! The kinds of database server under test. A file below this one has the specifics of each.

mod mariadb;
mod postgres;

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use nix::sys::signal::Signal;

use crate::{private_server::Stop, question::Answers};

/// A kind of database server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Postgres, 15 or later (earlier versions report the end of a session late).
    Postgres,
    /// MariaDB, 10.5 or later.
    MariaDb,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Postgres, Self::MariaDb];

    pub(crate) fn facts(self) -> &'static dyn Facts {
        match self {
            Self::Postgres => &postgres::Postgres,
            Self::MariaDb => &mariadb::MariaDb,
        }
    }

    /// The environment variable with the URL of a server of this kind.
    pub fn url_variable(self) -> &'static str {
        self.facts().url_variable()
    }

    /// The environment variable with the path of that server's log file.
    pub fn log_variable(self) -> &'static str {
        self.facts().log_variable()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.facts().name())
    }
}

/// The folder, port and password of a private server.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
    pub(crate) password: String,
}

impl Layout {
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The server's whole output: both kinds log to the standard error by default.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }
}

/// Makes a stopped server read-only at its next start.
pub(crate) enum Demotion {
    /// An empty file in its data folder.
    File(&'static str),
    /// A setting.
    Setting(&'static str, &'static str),
}

/// The superuser of every private server.
pub(crate) const SUPERUSER: &str = "poolhouse";

/// The specifics of one kind of server. [`crate::database`] builds every name in a statement from letters, digits and
/// underscores.
pub(crate) trait Facts: Sync {
    fn name(&self) -> &'static str;
    fn url_variable(&self) -> &'static str;
    fn log_variable(&self) -> &'static str;
    /// The account that the distribution's package created for the server.
    fn account(&self) -> &'static str;
    /// The port of a URL without one.
    fn default_port(&self) -> u16;

    /// The command that creates an empty cluster in `data`. It may write further files to the folder of `data`.
    fn create(&self, data: &Path, password: &str) -> anyhow::Result<Command>;
    /// The command that copies the running server at `url` into `data`, for a replica; `None` for a kind whose replicas replay
    /// all changes.
    fn copy(&self, url: &str, data: &Path) -> anyhow::Result<Option<Command>>;
    /// Statements that make a server a read-only replica of this one, where its files do not.
    fn follow(&self, primary: &Layout) -> Vec<String>;
    /// A query for the changes that a replica has received.
    fn received(&self) -> &'static str;
    /// Statements that make a replica apply these changes and accept writes.
    fn promote(&self, received: &[Option<String>]) -> Vec<String>;
    /// Makes a stopped server read-only.
    fn demotion(&self) -> Demotion;
    /// The command that runs a server in the foreground; `settings` override the defaults.
    fn serve(&self, layout: &Layout, settings: &[(String, String)]) -> anyhow::Result<Command>;
    /// The signal that stops a server in the given way.
    fn signal(&self, stop: Stop) -> Signal;
    /// The superuser's URL.
    fn url(&self, layout: &Layout) -> String;
    /// A query for the server's data folder, so that another server on the same port is not mistaken for it.
    fn whose_data(&self) -> &'static str;

    /// Runs statements on the server at `url`.
    fn ask<'a>(&self, url: &'a str, statements: &'a [String]) -> Answers<'a>;

    /// Statements that create a user and a database of the same name. The user is no superuser but may create databases.
    fn create_database(&self, name: &str, password: &str) -> Vec<String>;
    /// A query whose rows are the statements to run before [`Facts::drop_database`].
    fn clear_database(&self, name: &str) -> String;
    /// Statements that remove the user and the database.
    fn drop_database(&self, name: &str) -> Vec<String>;

    /// A query for the user's sessions: id, application, state, statement.
    fn sessions(&self, name: &str) -> String;
    /// The statement that terminates a session.
    fn end_session(&self, id: i64) -> String;
    /// The number of the user's sessions that ended without the protocol's quit message.
    fn ended_uncleanly(&self, name: &str) -> Count;
    /// The number of the user's sessions that the server was asked to terminate.
    fn killed(&self, name: &str) -> Count;
}

/// The source of a number.
pub(crate) enum Count {
    /// The single value of a query.
    Query(String),
    /// The number of log lines that contain all words of `with` and none of `without`.
    Log {
        with: Vec<String>,
        without: Vec<String>,
    },
}
