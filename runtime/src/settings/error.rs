//! Errors of the settings. Each message names the source and the cure, and none holds a password.

use super::names::list_or_none;

/// The settings of an engine cannot be used as they are.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// No source gives the URL of the database.
    #[error(
        "engine `{engine}` has no URL: {looked}. Set the variable {variable}, write `url` into {section} of poolhouse.toml, \
         or give it in code: #[with_pool({attribute})]"
    )]
    #[non_exhaustive]
    NoUrl {
        /// The engine.
        engine: String,
        /// Every source that was searched, with its result.
        looked: String,
        /// The variable that would hold the URL.
        variable: String,
        /// The section of the file that would hold it.
        section: String,
        /// The arguments of the attribute that would give it.
        attribute: String,
    },

    /// No source configures an engine of this name.
    #[error(
        "engine `{engine}` ({origin}) is not configured; known: {known}.{hint} To add it, set the variable {variable}, write \
         [engines.{engine}] into poolhouse.toml, or give `url` in code"
    )]
    #[non_exhaustive]
    UnknownEngine {
        /// The engine that was asked for.
        engine: String,
        /// The source of its name.
        origin: String,
        /// The known engines.
        known: String,
        /// The engine that was probably meant, as a sentence, or nothing.
        hint: String,
        /// The variable that would hold its URL.
        variable: String,
    },

    /// A node has no URL.
    #[error(
        "engine `{engine}`: its node `{node}` has no URL. Write `url` into its section of poolhouse.toml, give it in code, or \
         set the variable {variable}"
    )]
    #[non_exhaustive]
    NodeWithoutUrl {
        /// The engine.
        engine: String,
        /// The node.
        node: String,
        /// The variable that would hold the URL.
        variable: String,
    },

    /// The URL is not valid.
    #[error(
        "engine `{engine}`: `{setting}` = {url} ({origin}) is not a database URL: {reason}. Write one such as \
         postgres://user:password@host/database, mysql://user:password@host/database or sqlite:file.db"
    )]
    #[non_exhaustive]
    MalformedUrl {
        /// The engine.
        engine: String,
        /// `url` or `direct_url`.
        setting: &'static str,
        /// The URL without its secrets.
        url: String,
        /// Where it was written.
        origin: String,
        /// Why it is not valid.
        reason: &'static str,
    },

    /// A value is of the wrong type, or not one of those allowed.
    #[error("engine `{engine}`: `{setting}` = {value} ({origin}) is not valid; expected {accepts}")]
    #[non_exhaustive]
    BadValue {
        /// The engine.
        engine: String,
        /// The setting.
        setting: &'static str,
        /// The value as it was written.
        value: String,
        /// Where it was written.
        origin: String,
        /// What can be written instead.
        accepts: &'static str,
    },

    /// `min_size` is more than `max_size`.
    #[error(
        "engine `{engine}`: {min_size} is more than {max_size}; lower the first or raise the second"
    )]
    #[non_exhaustive]
    MinAboveMax {
        /// The engine.
        engine: String,
        /// `min_size` with its value and source.
        min_size: String,
        /// `max_size` with its value and source.
        max_size: String,
    },

    /// A setting needs a session, which a pooler does not keep.
    #[error(
        "engine `{engine}`: {setting} needs a session on the server, and with {pooler} the next statement may be in another \
         one; {cure}"
    )]
    #[non_exhaustive]
    NoSession {
        /// The engine.
        engine: String,
        /// The setting with its value and source.
        setting: String,
        /// `pooler` with its value and source.
        pooler: String,
        /// What to do.
        cure: &'static str,
    },

    /// The engine is already started with other settings.
    #[error(
        "engine `{engine}` is already started with other settings: {differences}. Give both the same, or start it once"
    )]
    #[non_exhaustive]
    Differ {
        /// The engine.
        engine: String,
        /// Each setting that differs, with both values and sources.
        differences: String,
    },

    /// Settings of an attribute's own engine, when each parameter has another engine.
    #[error(
        "engine `{engine}`: no parameter has it, so these settings of the attribute have no effect: {settings}. Write them in \
         the `#[pool(…)]` of a parameter"
    )]
    #[non_exhaustive]
    Unused {
        /// The attribute's engine.
        engine: String,
        /// Each setting with its source.
        settings: String,
    },

    /// A function given to `connect_with` or `before_connect` is for another driver.
    #[error(
        "engine `{engine}`: `{setting}` ({origin}) changes {given}, but this engine's driver takes {wanted}; \
         give it a function for {wanted}"
    )]
    #[non_exhaustive]
    ConnectWith {
        /// The engine.
        engine: String,
        /// `connect_with` or `before_connect`.
        setting: &'static str,
        /// Where the function was given.
        origin: String,
        /// The type the function is for.
        given: &'static str,
        /// The type the driver has.
        wanted: &'static str,
    },

    /// Migrations cannot be read.
    #[error("engine `{engine}`: {migrations}: {reason}")]
    #[non_exhaustive]
    Migrations {
        /// The engine.
        engine: String,
        /// `migrations` with its value and source.
        migrations: String,
        /// The reason, with the name of the file.
        reason: String,
    },

    /// The file is not TOML.
    #[error("{path}:{line}:{column}: {message}")]
    #[non_exhaustive]
    Syntax {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What the parser says.
        message: String,
    },

    /// The file has an unknown setting or section.
    #[error("{path}:{line}: there is no {what} `{name}` here; {hint}")]
    #[non_exhaustive]
    UnknownName {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// `setting` or `section`.
        what: &'static str,
        /// The name as it was written.
        name: String,
        /// What was probably meant.
        hint: String,
    },

    /// An existing file cannot be read.
    #[error("{path} cannot be read: {reason}")]
    #[non_exhaustive]
    Unreadable {
        /// The file.
        path: String,
        /// What the operating system says.
        reason: String,
    },

    /// `POOLHOUSE_CONF` names a file that does not exist.
    #[error(
        "there is no file `{path}` ({origin}); correct the variable, or remove it to have poolhouse.toml looked for"
    )]
    #[non_exhaustive]
    NoSuchFile {
        /// The path as it was written.
        path: String,
        /// The variable.
        origin: String,
    },

    /// The file does not have the chosen profile.
    #[error(
        "{path} has no profile `{profile}` ({origin}); known: {}",
        list_or_none(known)
    )]
    #[non_exhaustive]
    UnknownProfile {
        /// The profile.
        profile: String,
        /// The variable that chooses it.
        origin: String,
        /// The file.
        path: String,
        /// The profiles of the file.
        known: Vec<String>,
    },

    /// A profile is chosen, but there is no file.
    #[error(
        "the profile `{profile}` ({origin}) needs a file, but there is no poolhouse.toml in {directory} or above it; add \
         the file or remove the variable"
    )]
    #[non_exhaustive]
    NoFileForProfile {
        /// The profile.
        profile: String,
        /// The variable that chooses it.
        origin: String,
        /// The working directory.
        directory: String,
    },

    /// A line of a `.env` file cannot be read. The line is not quoted, because it may hold a password.
    #[error(
        "{path}:{line}: the line is not of the form NAME=value; put single quotes around a value with spaces, `#` or `$` in it"
    )]
    #[non_exhaustive]
    DotEnv {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
    },

    /// A variable's value is not Unicode.
    #[error("the value of the environment variable {variable} is not valid Unicode; set it anew")]
    #[non_exhaustive]
    NotUnicode {
        /// The variable.
        variable: String,
    },
}

/// Text that cannot be read as a value of the wanted type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not {expected}")]
pub struct ParseError {
    expected: String,
}

impl ParseError {
    /// `expected` names the expected value, with its article.
    pub(crate) fn new(expected: impl Into<String>) -> Self {
        Self {
            expected: expected.into(),
        }
    }
}
