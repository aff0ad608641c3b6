//! The kinds of database, one file each.
//!
//! A kind is described twice: as a [`Dialect`], plain data that the pool and the errors read, and as a [`Backend`], the
//! typed half that lets the engine run queries on a driver's connection. Nothing outside this folder asks which
//! database it talks to.

// `Backend` is sealed: what its hidden methods take is for this crate alone, as they are.
#![allow(private_interfaces)]

#[cfg(feature = "any")]
mod any;
mod dialect;
mod executes;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::sync::Arc;

use sqlx::{ConnectOptions, Connection, Database};

pub(crate) use self::dialect::{Diagnosis, Dialect, words};
pub(crate) use self::executes::{Executes, Step};
use crate::engine::{self, ErasedEngine};
use crate::error::{Error, StartError};
use crate::settings::{DatabaseUrl, EngineSettings};

/// The driver's own connect options of a database.
pub(crate) type OptionsOf<DB> = <<DB as Database>::Connection as Connection>::Options;

/// A database that poolhouse can run an engine on: Postgres, MySQL (and MariaDB), SQLite, or `Any` of them.
///
/// The trait is sealed: it is implemented here, once per database, for the databases whose feature is on.
pub trait Backend: Executes + sealed::Sealed {
    /// The dialect that a URL's scheme speaks. For one database it is always the same; `Any` looks at the scheme.
    #[doc(hidden)]
    fn dialect(url: &DatabaseUrl) -> Option<&'static Dialect>;

    /// The name of the kind, as errors print it.
    #[doc(hidden)]
    const KIND: &'static str;

    /// The driver's options for these settings.
    #[doc(hidden)]
    fn options(settings: &EngineSettings) -> sqlx::Result<OptionsOf<Self>>;

    /// Whether an error says that the session itself has ended, so that the connection is of no further use.
    #[doc(hidden)]
    fn ends_session(error: &sqlx::Error) -> bool {
        breaks_connection(error)
    }
}

/// Whether an error leaves the driver's connection in an unknown state, whatever the database.
fn breaks_connection(error: &sqlx::Error) -> bool {
    matches!(
        error,
        sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::WorkerCrashed
    )
}

/// The statement logging that `log_queries` and `slow_query` ask for.
fn log_statements<O: ConnectOptions>(options: O, settings: &EngineSettings) -> O {
    let level = match settings.log_queries.into_level() {
        None => log::LevelFilter::Off,
        Some(tracing::Level::ERROR) => log::LevelFilter::Error,
        Some(tracing::Level::WARN) => log::LevelFilter::Warn,
        Some(tracing::Level::INFO) => log::LevelFilter::Info,
        Some(tracing::Level::DEBUG) => log::LevelFilter::Debug,
        Some(tracing::Level::TRACE) => log::LevelFilter::Trace,
    };
    options
        .log_statements(level)
        .log_slow_statements(log::LevelFilter::Warn, settings.slow_query)
}

/// A row of the table of kinds: what is known of a database before its type is.
struct Kind {
    dialect: &'static Dialect,
    /// Builds an engine of this kind, not started; `None` when the kind's feature is off.
    engine: Option<BuildEngine>,
}

type BuildEngine = fn(EngineSettings) -> Result<Arc<dyn ErasedEngine>, Error>;

/// Every kind that a URL can name, whether its feature is on or not, so that an error can name the feature.
const KINDS: &[Kind] = &[
    Kind {
        dialect: &dialect::POSTGRES,
        #[cfg(feature = "postgres")]
        engine: Some(engine::erased::<sqlx::Postgres>),
        #[cfg(not(feature = "postgres"))]
        engine: None,
    },
    Kind {
        dialect: &dialect::MYSQL,
        #[cfg(feature = "mysql")]
        engine: Some(engine::erased::<sqlx::MySql>),
        #[cfg(not(feature = "mysql"))]
        engine: None,
    },
    Kind {
        dialect: &dialect::SQLITE,
        #[cfg(feature = "sqlite")]
        engine: Some(engine::erased::<sqlx::Sqlite>),
        #[cfg(not(feature = "sqlite"))]
        engine: None,
    },
];

/// An engine of the kind that these settings' URL names, not started.
///
/// # Errors
///
/// An unknown scheme, one whose feature is off, or a URL that the driver does not accept.
pub(crate) fn engine_of(settings: EngineSettings) -> Result<Arc<dyn ErasedEngine>, Error> {
    let (_, build) = kind_of(&settings)?;
    build(settings)
}

/// The dialect of these settings' URL.
///
/// # Errors
///
/// As [`engine_of`].
pub(crate) fn dialect_of(settings: &EngineSettings) -> Result<&'static Dialect, StartError> {
    kind_of(settings).map(|(dialect, _)| dialect)
}

fn kind_of(settings: &EngineSettings) -> Result<(&'static Dialect, BuildEngine), StartError> {
    let scheme = settings.url.scheme();
    let Some(kind) = KINDS
        .iter()
        .find(|kind| kind.dialect.schemes.contains(&scheme))
    else {
        let known: Vec<&str> = KINDS
            .iter()
            .flat_map(|kind| kind.dialect.schemes)
            .copied()
            .collect();
        return Err(StartError::unknown_scheme(settings, &known));
    };
    match kind.engine {
        Some(build) => Ok((kind.dialect, build)),
        None => Err(StartError::feature_off(settings, kind.dialect)),
    }
}

mod sealed {
    pub trait Sealed {}
    #[cfg(feature = "postgres")]
    impl Sealed for sqlx::Postgres {}
    #[cfg(feature = "mysql")]
    impl Sealed for sqlx::MySql {}
    #[cfg(feature = "sqlite")]
    impl Sealed for sqlx::Sqlite {}
    #[cfg(feature = "any")]
    impl Sealed for sqlx::Any {}
}
