//! The typed half of a database: driver calls.

use std::future::ready;
use std::sync::{Arc, Mutex};

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use sqlx::{Connection, Database, Execute, SqlStr};
use sqlx_core::describe::Describe;

use super::executes::{Executes, Step};
use crate::dialect::Dialect;
use crate::lock::lock;
use crate::settings::{DatabaseUrl, EngineSettings};

/// The driver's connect options for a database.
pub(crate) type OptionsOf<DB> = <<DB as Database>::Connection as Connection>::Options;

/// A database that poolhouse can run an engine on: Postgres (and CockroachDB), MySQL (and MariaDB), SQLite, or `Any` of them.
///
/// The trait is sealed: it is implemented here, once per database, for the databases whose feature is on.
pub trait Backend: Executes + sealed::Sealed {
    /// The dialect of a URL's scheme; `None` for the scheme of another database.
    #[doc(hidden)]
    fn dialect(url: &DatabaseUrl) -> Option<&'static Dialect>;

    /// The name of the kind, as errors print it.
    #[doc(hidden)]
    const KIND: &'static str;

    /// The position of an error in the SQL, in characters from 1, if the server reports it.
    #[doc(hidden)]
    fn error_position(_: &sqlx::Error) -> Option<usize> {
        None
    }

    /// The driver's options for one of the URLs of these settings.
    #[doc(hidden)]
    fn options(url: &DatabaseUrl, settings: &EngineSettings) -> sqlx::Result<OptionsOf<Self>>;

    /// Options that a function of the program has changed, with what the pool needs.
    #[doc(hidden)]
    fn corrected(options: OptionsOf<Self>) -> OptionsOf<Self> {
        options
    }

    /// The database that the options name: its name, or for SQLite its file. `None` leaves it to the server.
    #[doc(hidden)]
    fn database_of(options: &OptionsOf<Self>) -> Option<String>;

    /// Whether an error says that the session is read-only. If that was not requested, the server is no longer the primary.
    #[doc(hidden)]
    fn refuses_writes(_: &sqlx::Error) -> bool {
        false
    }

    /// Whether an error says that the server has rolled back and left the whole transaction. A further statement would then
    /// be committed by itself.
    #[doc(hidden)]
    fn ends_transaction(_: &sqlx::Error) -> bool {
        false
    }

    /// The statement after the begin of a transaction behind a pooler; `None` if no pooler is supported.
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
        pooled: &'e Pooled,
    ) -> BoxFuture<'e, sqlx::Result<Self::Statement>> {
        let _ = pooled;
        Self::prepare_with(connection, sql, parameters)
    }

    /// As [`Executes::describe`], behind a pooler.
    #[doc(hidden)]
    fn describe_pooled<'e>(
        connection: &'e mut Self::Connection,
        sql: SqlStr,
        pooled: &'e Pooled,
    ) -> BoxFuture<'e, sqlx::Result<Describe<Self>>> {
        let _ = pooled;
        Self::describe(connection, sql)
    }

    /// Closes the driver's cached statements, behind a pooler, at the end of a transaction.
    #[doc(hidden)]
    fn forget_statements(_: &mut Self::Connection) -> BoxFuture<'_, sqlx::Result<()>> {
        Box::pin(ready(Ok(())))
    }

    /// Whether an error says that the session itself has ended, so that the connection is unusable.
    #[doc(hidden)]
    fn ends_session(error: &sqlx::Error) -> bool {
        breaks_connection(error)
    }
}

/// The parameters of a statement that goes through a pooler.
#[cfg_attr(
    not(feature = "postgres"),
    allow(dead_code, reason = "a pooler is known in front of Postgres alone")
)]
pub(crate) struct Pooled {
    pub(crate) settings: Arc<EngineSettings>,
    /// Whether a transaction may be open that the driver does not count.
    pub(crate) begun_by_hand: bool,
    /// Whether the driver counts a transaction that has ended.
    pub(crate) counts_ended: bool,
    pub(crate) unit: OpenUnit,
}

/// What a statement behind a pooler has opened around itself, with the SQL that undoes it. The checkout shares it with the
/// statement, which may be dropped before it has ended that.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenUnit(Arc<Mutex<Option<&'static str>>>);

#[cfg_attr(
    not(feature = "postgres"),
    allow(dead_code, reason = "a pooler is known in front of Postgres alone")
)]
impl OpenUnit {
    /// Notes that a unit is about to be opened.
    pub(crate) fn opens(&self, undo: &'static str) {
        *lock(&self.0) = Some(undo);
    }

    pub(crate) fn is_open(&self) -> bool {
        lock(&self.0).is_some()
    }

    /// Notes that the end of the unit is sent now, on a connection without unread answers. Returns the SQL that would undo it.
    ///
    /// The server executes what was sent, whether or not the sender awaits the answer.
    pub(crate) fn ends(&self) -> Option<&'static str> {
        lock(&self.0).take()
    }
}

/// Whether an error leaves the driver's connection in an unknown state, whatever the database.
pub(super) fn breaks_connection(error: &sqlx::Error) -> bool {
    matches!(
        error,
        sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::WorkerCrashed
    )
}

/// The line of an error in a script, from 1, if the server reports it.
pub(crate) fn error_line<DB: Backend>(error: &sqlx::Error, script: &str) -> Option<usize> {
    let before = DB::error_position(error)?.saturating_sub(1);
    let breaks = script.chars().take(before).filter(|c| *c == '\n').count();
    Some(breaks + 1)
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
