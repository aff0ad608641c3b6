//! The kinds of database server under test. All that is particular to one is in its own file below
//! this one.

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
    /// Postgres, 15 or later (earlier ones report the end of a session late).
    Postgres,
    /// MariaDB, 10.5 or later.
    MariaDb,
}

impl Kind {
    /// Every kind, for tests that run on each.
    pub const ALL: [Self; 2] = [Self::Postgres, Self::MariaDb];

    pub(crate) fn facts(self) -> &'static dyn Facts {
        match self {
            Self::Postgres => &postgres::Postgres,
            Self::MariaDb => &mariadb::MariaDb,
        }
    }

    /// The environment variable that names a server of this kind by its URL.
    pub fn url_variable(self) -> &'static str {
        self.facts().url_variable()
    }

    /// The environment variable that names that server's log file.
    pub fn log_variable(self) -> &'static str {
        self.facts().log_variable()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.facts().name())
    }
}

/// Where a private server keeps what it has, and how it is reached.
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

    /// Everything that the server says: both kinds write their log to the standard error when they
    /// are not told otherwise.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }
}

/// What makes a stopped server one that only reads when it is started again.
pub(crate) enum Demotion {
    /// An empty file among its data.
    File(&'static str),
    /// A setting.
    Setting(&'static str, &'static str),
}

/// The superuser of every private server.
pub(crate) const SUPERUSER: &str = "poolhouse";

/// What the tests have to know about one kind of server. Every name that goes into a statement is
/// made by [`crate::database`] from letters, digits and underscores.
pub(crate) trait Facts: Sync {
    fn name(&self) -> &'static str;
    fn url_variable(&self) -> &'static str;
    fn log_variable(&self) -> &'static str;
    /// The account that the distribution's package made for the server.
    fn account(&self) -> &'static str;
    /// The port that a URL without one means.
    fn default_port(&self) -> u16;

    /// The command that makes an empty cluster in `data`. It may use the folder of `data` for files
    /// of its own.
    fn create(&self, data: &Path, password: &str) -> anyhow::Result<Command>;
    /// The command that copies the running server at `url` into `data`, to follow it; `None` for a kind that follows from
    /// the beginning.
    fn copy(&self, url: &str, data: &Path) -> anyhow::Result<Option<Command>>;
    /// Statements by which a server follows the one of this layout and only reads, where its files do not say so.
    fn follow(&self, primary: &Layout) -> Vec<String>;
    /// A query for what a server that follows has received.
    fn received(&self) -> &'static str;
    /// Statements by which it applies that, and then writes itself.
    fn promote(&self, received: &[Option<String>]) -> Vec<String>;
    /// What makes a stopped server one that only reads.
    fn demotion(&self) -> Demotion;
    /// The command that runs a server in the foreground; `settings` come after the defaults and
    /// override them.
    fn serve(&self, layout: &Layout, settings: &[(String, String)]) -> anyhow::Result<Command>;
    /// The signal that stops a server in this way.
    fn signal(&self, stop: Stop) -> Signal;
    /// The superuser's URL.
    fn url(&self, layout: &Layout) -> String;
    /// The SQL that answers with the folder of the server's data, so that no stranger on the same
    /// port is mistaken for it.
    fn whose_data(&self) -> &'static str;

    /// Asks the server at `url`.
    fn ask<'a>(&self, url: &'a str, statements: &'a [String]) -> Answers<'a>;

    /// Statements that make a user and a database of the same name; the user is no superuser but
    /// may create databases.
    fn create_database(&self, name: &str, password: &str) -> Vec<String>;
    /// A query whose rows are the statements that clear the way for [`Facts::drop_database`].
    fn clear_database(&self, name: &str) -> String;
    /// Statements that remove the user and the database.
    fn drop_database(&self, name: &str) -> Vec<String>;

    /// A query for the user's sessions: id, application, state, statement.
    fn sessions(&self, name: &str) -> String;
    /// The statement that ends a session.
    fn end_session(&self, id: i64) -> String;
    /// Sessions of the user that ended without the protocol's goodbye.
    fn ended_uncleanly(&self, name: &str) -> Count;
    /// Sessions of the user that the server was told to end.
    fn killed(&self, name: &str) -> Count;
}

/// Where a number is to be had.
pub(crate) enum Count {
    /// The one value of a query.
    Query(String),
    /// How many lines of the log hold all of the first words and none of the second.
    Log {
        with: Vec<String>,
        without: Vec<String>,
    },
}
