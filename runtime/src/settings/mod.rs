//! Settings: one table of names serves the attribute, the file, the environment and the builder in code.
//!
//! | from weakest to strongest | shown as |
//! |---|---|
//! | built-in default | `(default)` |
//! | `poolhouse.toml`, or the file that `POOLHOUSE_CONF` names: `[engine]`, `[engines.NAME]` | `(poolhouse.toml:4)` |
//! | the same file, profile `POOLHOUSE_PROFILE`: `[profile.P.engine]`, `[profile.P.engines.NAME]` | `(poolhouse.toml:9)` |
//! | the code | `(attribute, src/main.rs:7)`, `(builder, src/db.rs:12)` |
//! | `.env`, read beneath the process environment and never exported into it | `(.env:3, DATABASE_URL)` |
//! | the process environment | `(environment, POOLHOUSE_MAX_SIZE)` |
//!
//! Decisions that hold everywhere:
//!
//! - A node inherits its engine's settings. A value set for the node itself wins, in whichever sources the two are set.
//! - Each engine has its own settings. `POOLHOUSE_MAX_SIZE` sets only the default engine, as `[engine]` and
//!   `DATABASE_URL` do, and `POOLHOUSE_REPORTS_MAX_SIZE` sets the engine `reports`: an operator who gives one server more
//!   connections must not give them to another one by accident.
//! - A variable that is set but empty counts as not set, because compose files and CI systems pass empty variables on.
//! - A misspelt name in `poolhouse.toml` is an error, because only poolhouse reads the file. A misspelt `POOLHOUSE_…`
//!   variable is a warning, because the environment is shared with other programs and other versions of this one.
//! - Every section of the file is checked for misspelt names, also those that this run does not use.
//! - A file is looked for in the working directory, then in the directories above it.
//!
//! Reading has three steps: each of the [`Sources`] becomes a [`Layer`](layer::Layer) of values as written, [`Layers`]
//! merges them, and [`EngineSettings`] and [`ProgramSettings`] read typed values from the result.

mod builder;
mod connect;
mod described;
mod engine;
mod error;
mod fixtures;
mod form;
mod held;
mod hosts;
mod layer;
mod layers;
mod migrations;
mod names;
mod pooler;
mod program;
mod read;
mod secrets;
mod servers;
mod setters;
mod sharing;
mod sources;
mod sqlx_toml;
mod table;
#[cfg(test)]
mod tests;
mod url;
mod value;
mod words;

pub use builder::Settings;
pub(crate) use connect::Prepare;
pub(crate) use described::Described;
#[cfg(feature = "testing")]
pub(crate) use engine::LeaseCheck;
#[cfg(any(feature = "sqlite", feature = "testing"))]
pub(crate) use engine::TestFile;
pub(crate) use engine::{BorrowedByAny, EngineSettings, resolve};
pub use error::{ParseError, SettingsError};
#[cfg(feature = "testing")]
pub(crate) use held::Held;
pub(crate) use held::HeldTransactions;
pub(crate) use hosts::{Hosts, Target};
pub(crate) use layers::{InTest, Layers};
pub(crate) use migrations::{Migrations, SharedMigrator};
#[cfg(feature = "testing")]
pub(crate) use names::DEFAULT_ENGINE;
pub(crate) use names::{list_or_none, nearest, section};
pub(crate) use program::ProgramSettings;
pub(crate) use secrets::conceal;
pub use setters::IntoDuration;
pub(crate) use sources::Sources;
pub(crate) use table::MOST_CONNECTIONS;
pub use url::DatabaseUrl;
pub use words::{IntoWord, LogLevel, Pooler, QuerySpans, RuntimeFlavor, TestIsolation};
