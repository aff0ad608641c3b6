//! Running a query on a driver's connection, from generic code.
//!
//! sqlx implements `Executor` for `&mut PgConnection` and its siblings. Generic code would need
//! `for<'c> &'c mut DB::Connection: Executor<'c>` on every item that touches a connection, and every caller would have
//! to repeat it. This trait replaces the bound, with one implementation for each database.

use std::future::Future;

use either::Either;
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::TryStreamExt;
use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migrator};
use sqlx::{Database, Execute, Executor, Row, SqlStr};
use sqlx_core::describe::Describe;

#[cfg(feature = "sqlite")]
use crate::dialect::{Syntax, only_reads};

/// One step of a result: the end of a statement, or a row.
pub(crate) type Step<DB> = Either<<DB as Database>::QueryResult, <DB as Database>::Row>;

/// The methods of [`sqlx::Executor`], and migrations, on a plain connection of this database.
///
/// Implemented by [`executes!`](macro@executes) alone; each method is the driver's own.
#[doc(hidden)]
#[allow(missing_docs)]
pub trait Executes: Database {
    fn fetch_many<'e, 'q: 'e, E>(
        connection: &'e mut Self::Connection,
        query: E,
    ) -> BoxStream<'e, sqlx::Result<Step<Self>>>
    where
        E: Execute<'q, Self> + 'q;

    fn fetch_optional<'e, 'q: 'e, E>(
        connection: &'e mut Self::Connection,
        query: E,
    ) -> BoxFuture<'e, sqlx::Result<Option<Self::Row>>>
    where
        E: Execute<'q, Self> + 'q;

    fn prepare_with<'e>(
        connection: &'e mut Self::Connection,
        sql: SqlStr,
        parameters: &'e [Self::TypeInfo],
    ) -> BoxFuture<'e, sqlx::Result<Self::Statement>>;

    fn describe(
        connection: &mut Self::Connection,
        sql: SqlStr,
    ) -> BoxFuture<'_, sqlx::Result<Describe<Self>>>;

    /// Runs pending migrations, up to the version `target` if there is one.
    fn migrate<'e>(
        connection: &'e mut Self::Connection,
        migrator: &'e Migrator,
        target: Option<i64>,
    ) -> BoxFuture<'e, Result<(), MigrateError>>;

    /// The migrations that a table records as run, successful or not. An error if the table does not exist.
    fn applied<'e>(
        connection: &'e mut Self::Connection,
        table: &'e str,
    ) -> BoxFuture<'e, Result<Vec<AppliedMigration>, MigrateError>>;

    /// The first migration that a table records as failed.
    fn dirty<'e>(
        connection: &'e mut Self::Connection,
        table: &'e str,
    ) -> BoxFuture<'e, Result<Option<i64>, MigrateError>>;

    // The driver's `execute` and `fetch_all` put two more boxes around its stream, which these methods avoid.

    fn execute<'e, 'q: 'e, E>(
        connection: &'e mut Self::Connection,
        query: E,
    ) -> impl Future<Output = sqlx::Result<Self::QueryResult>> + Send + 'e
    where
        E: Execute<'q, Self> + 'q,
    {
        count::<Self>(Self::fetch_many(connection, query))
    }

    fn fetch_all<'e, 'q: 'e, E>(
        connection: &'e mut Self::Connection,
        query: E,
    ) -> impl Future<Output = sqlx::Result<Vec<Self::Row>>> + Send + 'e
    where
        E: Execute<'q, Self> + 'q,
    {
        all::<Self>(Self::fetch_many(connection, query))
    }

    /// The integer result of a query of the pool's own, in one round trip.
    fn number<'e>(
        connection: &'e mut Self::Connection,
        sql: &'static str,
    ) -> BoxFuture<'e, sqlx::Result<i64>>;

    /// The text result of a query of the pool's own, in one round trip.
    fn text<'e>(
        connection: &'e mut Self::Connection,
        sql: &'static str,
    ) -> BoxFuture<'e, sqlx::Result<String>> {
        Self::text_of(connection, sql.to_owned())
    }

    /// As [`text`](Self::text), for a query that is built at run time.
    fn text_of(
        connection: &mut Self::Connection,
        sql: String,
    ) -> BoxFuture<'_, sqlx::Result<String>>;
}

/// The sum of the results of all statements.
pub(crate) async fn count<DB: Database>(
    mut steps: BoxStream<'_, sqlx::Result<Step<DB>>>,
) -> sqlx::Result<DB::QueryResult> {
    let mut result = DB::QueryResult::default();
    while let Some(step) = steps.try_next().await? {
        result.extend(step.left());
    }
    Ok(result)
}

/// Every row of a result.
pub(crate) async fn all<DB: Database>(
    mut steps: BoxStream<'_, sqlx::Result<Step<DB>>>,
) -> sqlx::Result<Vec<DB::Row>> {
    let mut rows = Vec::new();
    while let Some(step) = steps.try_next().await? {
        rows.extend(step.right());
    }
    Ok(rows)
}

/// The first row of a result, which is read to its end: an error may come after the row.
pub(crate) async fn first<DB: Database>(
    mut steps: BoxStream<'_, sqlx::Result<Step<DB>>>,
) -> sqlx::Result<Option<DB::Row>> {
    let mut first = None;
    while let Some(step) = steps.try_next().await? {
        first = first.or(step.right());
    }
    Ok(first)
}

macro_rules! executes {
    ($($(#[$feature:meta])* $database:ty, $optional:expr;)*) => {$(
        $(#[$feature])*
        impl Executes for $database {
            fn fetch_many<'e, 'q: 'e, E>(
                connection: &'e mut Self::Connection,
                query: E,
            ) -> BoxStream<'e, sqlx::Result<Step<Self>>>
            where
                E: Execute<'q, Self> + 'q,
            {
                Executor::fetch_many(connection, query)
            }

            fn fetch_optional<'e, 'q: 'e, E>(
                connection: &'e mut Self::Connection,
                query: E,
            ) -> BoxFuture<'e, sqlx::Result<Option<Self::Row>>>
            where
                E: Execute<'q, Self> + 'q,
            {
                $optional(connection, query)
            }

            fn prepare_with<'e>(
                connection: &'e mut Self::Connection,
                sql: SqlStr,
                parameters: &'e [Self::TypeInfo],
            ) -> BoxFuture<'e, sqlx::Result<Self::Statement>> {
                Executor::prepare_with(connection, sql, parameters)
            }

            fn describe(
                connection: &mut Self::Connection,
                sql: SqlStr,
            ) -> BoxFuture<'_, sqlx::Result<Describe<Self>>> {
                Executor::describe(connection, sql)
            }

            fn migrate<'e>(
                connection: &'e mut Self::Connection,
                migrator: &'e Migrator,
                target: Option<i64>,
            ) -> BoxFuture<'e, Result<(), MigrateError>> {
                Box::pin(migrator.run_direct(target, connection, false))
            }

            fn applied<'e>(
                connection: &'e mut Self::Connection,
                table: &'e str,
            ) -> BoxFuture<'e, Result<Vec<AppliedMigration>, MigrateError>> {
                connection.list_applied_migrations(table)
            }

            fn dirty<'e>(
                connection: &'e mut Self::Connection,
                table: &'e str,
            ) -> BoxFuture<'e, Result<Option<i64>, MigrateError>> {
                connection.dirty_version(table)
            }

            fn number<'e>(
                connection: &'e mut Self::Connection,
                sql: &'static str,
            ) -> BoxFuture<'e, sqlx::Result<i64>> {
                Box::pin(async move {
                    // A prepared statement would take one round trip more.
                    sqlx::raw_sql(sql).fetch_one(connection).await?.try_get(0)
                })
            }

            fn text_of(
                connection: &mut Self::Connection,
                sql: String,
            ) -> BoxFuture<'_, sqlx::Result<String>> {
                Box::pin(async move {
                    // A prepared statement would take one round trip more.
                    let sql = sqlx::AssertSqlSafe(sql);
                    let row = sqlx::raw_sql(sql).fetch_one(connection).await?;
                    // After `SET NAMES binary`, MySQL gives texts another type.
                    row.try_get_unchecked(0)
                })
            }
        }
    )*};
}

executes! {
    // The driver itself reads to the end.
    #[cfg(feature = "postgres")] sqlx::Postgres, Executor::fetch_optional;
    #[cfg(feature = "mysql")] sqlx::MySql, one_row;
    #[cfg(feature = "sqlite")] sqlx::Sqlite, one_row_or_first;
    #[cfg(feature = "any")] sqlx::Any, one_row;
}

/// The first row of a statement that is read to its end, because a commit comes after the rows, and may fail. These drivers
/// return at the first row, and the next statement on the connection gets that error.
#[cfg(any(feature = "mysql", feature = "sqlite", feature = "any"))]
fn one_row<'e, 'q: 'e, DB, E>(
    connection: &'e mut DB::Connection,
    query: E,
) -> BoxFuture<'e, sqlx::Result<Option<DB::Row>>>
where
    DB: Database,
    E: Execute<'q, DB> + 'q,
    &'e mut DB::Connection: Executor<'e, Database = DB>,
{
    Box::pin(first::<DB>(Executor::fetch_many(connection, query)))
}

/// As [`one_row`]. A query that only reads has no commit that may fail, and ends at its first row.
#[cfg(feature = "sqlite")]
fn one_row_or_first<'e, 'q: 'e, E>(
    connection: &'e mut sqlx::SqliteConnection,
    mut query: E,
) -> BoxFuture<'e, sqlx::Result<Option<sqlx::sqlite::SqliteRow>>>
where
    E: Execute<'q, sqlx::Sqlite> + 'q,
{
    let statement = query.statement().cloned();
    let arguments = Some(query.take_arguments());
    let is_persistent = query.persistent();
    let sql = query.sql();
    let reads = only_reads(sql.as_str(), Syntax::Sqlite);
    let query = ReadQuery {
        sql,
        statement,
        arguments,
        is_persistent,
    };
    if reads {
        Executor::fetch_optional(connection, query)
    } else {
        one_row(connection, query)
    }
}

/// A query whose text was read.
#[cfg(feature = "sqlite")]
struct ReadQuery {
    sql: sqlx::SqlStr,
    statement: Option<sqlx::sqlite::SqliteStatement>,
    /// `None` once they are taken.
    arguments: Option<Result<Option<sqlx::sqlite::SqliteArguments>, sqlx::error::BoxDynError>>,
    is_persistent: bool,
}

#[cfg(feature = "sqlite")]
impl Execute<'_, sqlx::Sqlite> for ReadQuery {
    fn sql(self) -> sqlx::SqlStr {
        self.sql
    }

    fn statement(&self) -> Option<&sqlx::sqlite::SqliteStatement> {
        self.statement.as_ref()
    }

    fn take_arguments(
        &mut self,
    ) -> Result<Option<sqlx::sqlite::SqliteArguments>, sqlx::error::BoxDynError> {
        self.arguments.take().unwrap_or(Ok(None))
    }

    fn persistent(&self) -> bool {
        self.is_persistent
    }
}
