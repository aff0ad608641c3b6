//! The kinds of database, one file each.
//!
//! A kind is described twice: as a [`Dialect`], plain data that the pool and the errors read, and as a [`Backend`], the
//! typed half that lets the engine run queries on a driver's connection. Nothing outside this folder asks which
//! database it talks to.

// `Backend` is sealed: what its hidden methods take is for this crate alone, as they are.
#![allow(private_interfaces)]

#[cfg(feature = "any")]
mod any;
#[cfg(any(feature = "any", feature = "postgres"))]
mod cockroach;
mod dialect;
mod executes;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;
mod told;

use std::future::ready;
use std::sync::Arc;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use sqlx::{ConnectOptions, Connection, Database, Execute, SqlStr};
use sqlx_core::describe::Describe;

pub(crate) use self::dialect::{Diagnosis, Dialect, Greeted, MigrationsLock, words};
pub(crate) use self::executes::{Executes, Step, all, count, first};
pub(crate) use self::sql::begins_transaction;
pub(crate) use self::told::{tell, told};
use crate::engine::{self, ErasedEngine};
use crate::error::{Error, StartError};
use crate::settings::{DatabaseUrl, EngineSettings};
use crate::testing::{self, Ground};

/// The driver's own connect options of a database.
pub(crate) type OptionsOf<DB> = <<DB as Database>::Connection as Connection>::Options;

/// A database that poolhouse can run an engine on: Postgres (and CockroachDB), MySQL (and MariaDB), SQLite, or `Any` of them.
///
/// The trait is sealed: it is implemented here, once per database, for the databases whose feature is on.
pub trait Backend: Executes + sealed::Sealed {
    /// The dialect that a URL's scheme speaks. For one database it is always the same; `Any` looks at the scheme.
    #[doc(hidden)]
    fn dialect(url: &DatabaseUrl) -> Option<&'static Dialect>;

    /// The name of the kind, as errors print it.
    #[doc(hidden)]
    const KIND: &'static str;

    /// The URL of a test's engine where nobody gives one; `None` when that is an error.
    #[doc(hidden)]
    const TEST_URL: Option<&'static str> = None;

    /// Where in the SQL an error is, as a count of characters from 1, when the server tells.
    #[doc(hidden)]
    fn error_position(_: &sqlx::Error) -> Option<usize> {
        None
    }

    /// The driver's options for one of the URLs of these settings.
    #[doc(hidden)]
    fn options(url: &DatabaseUrl, settings: &EngineSettings) -> sqlx::Result<OptionsOf<Self>>;

    /// Whether an error says that this session only reads. If that was not asked for, its server is not the primary any
    /// more.
    #[doc(hidden)]
    fn refuses_writes(_: &sqlx::Error) -> bool {
        false
    }

    /// Whether an error says that the server has rolled back the whole transaction and left it, so that a further statement
    /// would be committed by itself.
    #[doc(hidden)]
    fn ends_transaction(_: &sqlx::Error) -> bool {
        false
    }

    /// What follows the begin of a transaction behind a pooler; `None` for a database in front of which none is known.
    #[doc(hidden)]
    const CLEAR_POOLED: Option<&'static str> = None;

    /// Runs a query behind a pooler, where the next message may reach another session of the server.
    #[doc(hidden)]
    fn fetch_many_pooled<'e, 'q: 'e, E>(
        connection: &'e mut Self::Connection,
        query: E,
        pooled: Pooled,
    ) -> BoxStream<'e, sqlx::Result<Step<Self>>>
    where
        E: Execute<'q, Self> + 'q,
    {
        let _ = pooled;
        Self::fetch_many(connection, query)
    }

    /// As [`Executes::prepare_with`], behind a pooler.
    #[doc(hidden)]
    fn prepare_pooled<'e>(
        connection: &'e mut Self::Connection,
        sql: SqlStr,
        parameters: &'e [Self::TypeInfo],
    ) -> BoxFuture<'e, sqlx::Result<Self::Statement>> {
        Self::prepare_with(connection, sql, parameters)
    }

    /// As [`Executes::describe`], behind a pooler.
    #[doc(hidden)]
    fn describe_pooled(
        connection: &mut Self::Connection,
        sql: SqlStr,
    ) -> BoxFuture<'_, sqlx::Result<Describe<Self>>> {
        Self::describe(connection, sql)
    }

    /// Closes what the driver has prepared and kept, behind a pooler, at the end of a transaction.
    #[doc(hidden)]
    fn forget_statements(_: &mut Self::Connection) -> BoxFuture<'_, sqlx::Result<()>> {
        Box::pin(ready(Ok(())))
    }

    /// Whether an error says that the session itself has ended, so that the connection is of no further use.
    #[doc(hidden)]
    fn ends_session(error: &sqlx::Error) -> bool {
        breaks_connection(error)
    }
}

/// What there is to know of a statement that goes through a pooler.
#[cfg_attr(
    not(feature = "postgres"),
    allow(dead_code, reason = "a pooler is known in front of Postgres alone")
)]
pub(crate) struct Pooled {
    pub(crate) settings: Arc<EngineSettings>,
    /// Whether a transaction may be open that the driver does not know of.
    pub(crate) begun_by_hand: bool,
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

/// Whether an error is a conflict with another transaction, on whichever database: their codes differ.
#[cfg(feature = "web")]
pub(crate) fn is_conflict(error: &sqlx::Error) -> bool {
    KINDS.iter().any(|kind| kind.dialect.is_conflict(error))
}

/// The line of a script that an error is about, from 1, when the server tells.
pub(crate) fn error_line<DB: Backend>(error: &sqlx::Error, script: &str) -> Option<usize> {
    let before = DB::error_position(error)?.saturating_sub(1);
    let breaks = script.chars().take(before).filter(|c| *c == '\n').count();
    Some(breaks + 1)
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
    /// Where tests get databases of this kind.
    ground: Option<FindGround>,
}

type FindGround = fn(&EngineSettings) -> Result<Arc<dyn Ground>, Error>;
type BuildEngine = fn(Arc<EngineSettings>) -> Result<Arc<dyn ErasedEngine>, Error>;

/// Every kind that a URL can name, whether its feature is on or not, so that an error can name the feature.
const KINDS: &[Kind] = &[
    Kind {
        dialect: &dialect::POSTGRES,
        #[cfg(feature = "postgres")]
        engine: Some(engine::erased::<sqlx::Postgres>),
        #[cfg(not(feature = "postgres"))]
        engine: None,
        #[cfg(feature = "postgres")]
        ground: Some(testing::postgres_ground),
        #[cfg(not(feature = "postgres"))]
        ground: None,
    },
    Kind {
        dialect: &dialect::COCKROACH,
        #[cfg(feature = "postgres")]
        engine: Some(engine::erased::<sqlx::Postgres>),
        #[cfg(not(feature = "postgres"))]
        engine: None,
        #[cfg(feature = "postgres")]
        ground: Some(testing::cockroach_ground),
        #[cfg(not(feature = "postgres"))]
        ground: None,
    },
    Kind {
        dialect: &dialect::MYSQL,
        #[cfg(feature = "mysql")]
        engine: Some(engine::erased::<sqlx::MySql>),
        #[cfg(not(feature = "mysql"))]
        engine: None,
        #[cfg(feature = "mysql")]
        ground: Some(testing::mysql_ground),
        #[cfg(not(feature = "mysql"))]
        ground: None,
    },
    Kind {
        dialect: &dialect::SQLITE,
        #[cfg(feature = "sqlite")]
        engine: Some(engine::erased::<sqlx::Sqlite>),
        #[cfg(not(feature = "sqlite"))]
        engine: None,
        #[cfg(feature = "sqlite")]
        ground: Some(testing::sqlite_ground),
        #[cfg(not(feature = "sqlite"))]
        ground: None,
    },
];

/// An engine of the kind that these settings' URL names, not started.
///
/// # Errors
///
/// An unknown scheme, one whose feature is off, or a URL that the driver does not accept.
pub(crate) fn engine_of(settings: Arc<EngineSettings>) -> Result<Arc<dyn ErasedEngine>, Error> {
    match kind_of(&settings)?.engine {
        Some(build) => build(settings),
        None => unreachable!("`kind_of` has looked"),
    }
}

/// Where tests get databases of the kind that these settings' URL names.
///
/// # Errors
///
/// As [`engine_of`].
pub(crate) fn ground_of(settings: &EngineSettings) -> Result<FindGround, Error> {
    match kind_of(settings)?.ground {
        Some(ground) => Ok(ground),
        None => unreachable!("every kind has one"),
    }
}

/// The dialect of these settings' URL.
///
/// # Errors
///
/// As [`engine_of`].
pub(crate) fn dialect_of(settings: &EngineSettings) -> Result<&'static Dialect, StartError> {
    kind_of(settings).map(|kind| kind.dialect)
}

/// The row of these settings' URL, whose feature is on.
fn kind_of(settings: &EngineSettings) -> Result<&'static Kind, StartError> {
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
        Some(_) => Ok(kind),
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
