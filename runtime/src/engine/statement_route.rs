//! The route of a statement to the server: direct, or through a pooler.

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use sqlx::{Execute, SqlStr};
use sqlx_core::describe::Describe;

use crate::backend::{self, Backend, Pooled, Step};

/// The route of one checkout's statements: `None` for a direct connection to the server.
pub(super) type Route = Option<Pooled>;

pub(super) fn fetch_many<'e, 'q: 'e, DB: Backend, E>(
    route: Route,
    connection: &'e mut DB::Connection,
    query: E,
) -> BoxStream<'e, sqlx::Result<Step<DB>>>
where
    E: Execute<'q, DB> + 'q,
{
    match route {
        None => DB::fetch_many(connection, query),
        Some(pooled) => DB::fetch_many_pooled(connection, query, pooled),
    }
}

pub(super) async fn execute<'e, 'q: 'e, DB: Backend, E>(
    route: Route,
    connection: &'e mut DB::Connection,
    query: E,
) -> sqlx::Result<DB::QueryResult>
where
    E: Execute<'q, DB> + 'q,
{
    backend::count::<DB>(fetch_many(route, connection, query)).await
}

pub(super) async fn fetch_all<'e, 'q: 'e, DB: Backend, E>(
    route: Route,
    connection: &'e mut DB::Connection,
    query: E,
) -> sqlx::Result<Vec<DB::Row>>
where
    E: Execute<'q, DB> + 'q,
{
    backend::all::<DB>(fetch_many(route, connection, query)).await
}

pub(super) fn fetch_optional<'e, 'q: 'e, DB: Backend, E>(
    route: Route,
    connection: &'e mut DB::Connection,
    query: E,
) -> BoxFuture<'e, sqlx::Result<Option<DB::Row>>>
where
    E: Execute<'q, DB> + 'q,
{
    match route {
        None => DB::fetch_optional(connection, query),
        Some(pooled) => Box::pin(backend::first::<DB>(DB::fetch_many_pooled(
            connection, query, pooled,
        ))),
    }
}

pub(super) fn prepare_with<'e, DB: Backend>(
    route: &'e Route,
    connection: &'e mut DB::Connection,
    sql: SqlStr,
    parameters: &'e [DB::TypeInfo],
) -> BoxFuture<'e, sqlx::Result<DB::Statement>> {
    match route {
        None => DB::prepare_with(connection, sql, parameters),
        Some(pooled) => DB::prepare_pooled(connection, sql, parameters, pooled),
    }
}

pub(super) fn describe<'e, DB: Backend>(
    route: &'e Route,
    connection: &'e mut DB::Connection,
    sql: SqlStr,
) -> BoxFuture<'e, sqlx::Result<Describe<DB>>> {
    match route {
        None => DB::describe(connection, sql),
        Some(pooled) => DB::describe_pooled(connection, sql, pooled),
    }
}
