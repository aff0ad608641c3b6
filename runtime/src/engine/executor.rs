//! `&Engine`, `&mut Session`, `&mut Checkout` and `&mut Transaction` as executors of sqlx.

use std::convert::identity;
use std::future::{Ready, ready};
use std::sync::Arc;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use sqlx::error::BoxDynError;
use sqlx::{Database, Execute, Executor, SqlStr};
use sqlx_core::describe::Describe;

use super::statement_route::{self as route, Route};
use super::{Engine, Transaction};
use crate::backend::{Backend, Step};
use crate::pool::{CheckedOut, Checkout, ForStatement, Holder, Record, Session};

/// A query that reports its text to the pool when it runs. The text names the holder of the connection, and shows whether a
/// transaction was begun that the driver does not count.
struct Noted<E> {
    query: E,
    record: Arc<Record>,
}

impl<'q, DB: Database, E: Execute<'q, DB>> Execute<'q, DB> for Noted<E> {
    fn sql(self) -> SqlStr {
        let sql = self.query.sql();
        self.record.note(&sql);
        sql
    }

    fn statement(&self) -> Option<&DB::Statement> {
        self.query.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<DB::Arguments>, BoxDynError> {
        self.query.take_arguments()
    }

    fn persistent(&self) -> bool {
        self.query.persistent()
    }
}

/// A connection for one query: taken out of the pool for it, or a session's.
enum ForQuery<'c, DB: Backend> {
    Taken(CheckedOut<DB>),
    Session(ForStatement<'c, DB>),
}

impl<DB: Backend> ForQuery<'_, DB> {
    /// The connection and its statement route.
    fn checkout(&mut self) -> (&mut CheckedOut<DB>, Route) {
        let checkout = match self {
            Self::Taken(checkout) => checkout,
            Self::Session(session) => session.connection(),
        };
        let route = checkout.pooled();
        (checkout, route)
    }

    /// Whether the connection was opened for this query.
    fn is_alone(&self) -> bool {
        matches!(self, Self::Taken(checkout) if checkout.is_alone())
    }

    /// Closes a connection that was opened for this query, and waits for the close: when nobody waits, it does not end unless the
    /// runtime runs again. Boxed, so that the future of a query on a started pool stays small.
    fn close(self) -> BoxFuture<'static, ()> {
        match self {
            Self::Taken(checkout) => Box::pin(checkout.close()),
            Self::Session(_) => Box::pin(ready(())),
        }
    }
}

/// The most steps of a result that are passed on together. They have already arrived, so that nothing waits for more of them. A
/// stream that is dropped loses at most so many unread steps.
const AT_ONCE: usize = 64;

/// The steps of a query that `$choose` selects, as a stream.
///
/// A stream that holds the checkout and a borrow from it costs more for each item than most rows do, so steps that are ready at
/// the same time pass through it together.
macro_rules! steps {
    ($source:ident, $for_query:expr, $query:ident, $choose:expr) => {
        async_stream::stream! {
            let mut source: ForQuery<'_, DB> = match $for_query($source).await {
                Ok(source) => source,
                Err(error) => {
                    yield vec![Err(error)];
                    return;
                }
            };
            let (checkout, route) = source.checkout();
            let (before, connection, record) = match checkout.begin_stream().await {
                Ok(begun) => begun,
                Err(error) => {
                    yield vec![Err(error)];
                    return;
                }
            };
            let query = Noted { query: $query, record };
            // Behind a pooler, the end of the result commits, so it must not be reached before the rows are read.
            let at_once = if route.is_some() { 1 } else { AT_ONCE };
            let mut steps = route::fetch_many::<DB, _>(route, connection, query).ready_chunks(at_once);
            let mut error = None;
            while error.is_none() && let Some(mut ready) = steps.next().await {
                if let Some(failed) = ready.iter().position(Result::is_err) {
                    error = ready.drain(failed..).next().and_then(Result::err);
                }
                if !ready.is_empty() {
                    yield ready;
                }
            }
            drop(steps);
            // A stream that is dropped half-way does not reach this line, so its connection stays unverified.
            checkout.end_stream(before, error.as_ref());
            if source.is_alone() {
                source.close().await;
            } else {
                drop(source);
            }
            if let Some(error) = error {
                yield vec![Err(error)];
            }
        }
        .flat_map(|ready| stream::iter(ready.into_iter().filter_map($choose)))
    };
}

/// Implements `Executor` on `$on`. `$source` turns it into what the future owns, and `$for_query` turns that into a
/// [`ForQuery`] when the future runs.
macro_rules! executor {
    (impl<$life:lifetime> for $on:ty, $source:expr, $for_query:expr) => {
        impl<$life, DB: Backend> Executor<$life> for $on {
            type Database = DB;

            fn execute<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, sqlx::Result<DB::QueryResult>>
            where
                $life: 'e,
                E: Execute<'q, DB> + 'q,
            {
                let source = $source(self);
                Box::pin(async move {
                    let mut source: ForQuery<'_, DB> = $for_query(source).await?;
                    let (checkout, route) = source.checkout();
                    let result = checkout
                        .run(|connection, record| {
                            route::execute::<DB, _>(route, connection, Noted { query, record })
                        })
                        .await;
                    if source.is_alone() {
                        source.close().await;
                    }
                    result
                })
            }

            fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, sqlx::Result<Step<DB>>>
            where
                $life: 'e,
                E: Execute<'q, DB> + 'q,
            {
                let source = $source(self);
                Box::pin(steps!(source, $for_query, query, Some))
            }

            // The trait's default adds a second box around `fetch_many`, with a future for each row.
            fn fetch<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, sqlx::Result<DB::Row>>
            where
                $life: 'e,
                E: Execute<'q, DB> + 'q,
            {
                let source = $source(self);
                Box::pin(steps!(source, $for_query, query, |step| {
                    step.map(Step::<DB>::right).transpose()
                }))
            }

            fn fetch_all<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Vec<DB::Row>>>
            where
                $life: 'e,
                E: Execute<'q, DB> + 'q,
            {
                let source = $source(self);
                Box::pin(async move {
                    let mut source: ForQuery<'_, DB> = $for_query(source).await?;
                    let (checkout, route) = source.checkout();
                    let result = checkout
                        .run(|connection, record| {
                            route::fetch_all::<DB, _>(route, connection, Noted { query, record })
                        })
                        .await;
                    if source.is_alone() {
                        source.close().await;
                    }
                    result
                })
            }

            fn fetch_optional<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, sqlx::Result<Option<DB::Row>>>
            where
                $life: 'e,
                E: Execute<'q, DB> + 'q,
            {
                let source = $source(self);
                Box::pin(async move {
                    let mut source: ForQuery<'_, DB> = $for_query(source).await?;
                    let (checkout, route) = source.checkout();
                    let result = checkout
                        .run(|connection, record| {
                            route::fetch_optional::<DB, _>(
                                route,
                                connection,
                                Noted { query, record },
                            )
                        })
                        .await;
                    if source.is_alone() {
                        source.close().await;
                    }
                    result
                })
            }

            fn fetch_one<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<DB::Row>>
            where
                $life: 'e,
                E: Execute<'q, DB> + 'q,
            {
                let source = $source(self);
                Box::pin(async move {
                    let mut source: ForQuery<'_, DB> = $for_query(source).await?;
                    let (checkout, route) = source.checkout();
                    let row = checkout
                        .run(|connection, record| {
                            route::fetch_optional::<DB, _>(
                                route,
                                connection,
                                Noted { query, record },
                            )
                        })
                        .await;
                    if source.is_alone() {
                        source.close().await;
                    }
                    row?.ok_or(sqlx::Error::RowNotFound)
                })
            }

            fn prepare_with<'e>(
                self,
                sql: SqlStr,
                parameters: &'e [DB::TypeInfo],
            ) -> BoxFuture<'e, sqlx::Result<DB::Statement>>
            where
                $life: 'e,
            {
                let source = $source(self);
                Box::pin(async move {
                    let mut source: ForQuery<'_, DB> = $for_query(source).await?;
                    let (checkout, route) = source.checkout();
                    let result = checkout
                        .run(|connection, _| {
                            route::prepare_with::<DB>(&route, connection, sql, parameters)
                        })
                        .await;
                    if source.is_alone() {
                        source.close().await;
                    }
                    result
                })
            }

            #[doc(hidden)]
            fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<DB>>>
            where
                $life: 'e,
            {
                let source = $source(self);
                Box::pin(async move {
                    let mut source: ForQuery<'_, DB> = $for_query(source).await?;
                    let (checkout, route) = source.checkout();
                    let result = checkout
                        .run(|connection, _| route::describe::<DB>(&route, connection, sql))
                        .await;
                    if source.is_alone() {
                        source.close().await;
                    }
                    result
                })
            }
        }
    };
}

// As with `&sqlx::Pool`, the future does not borrow the engine, so that it may outlive the reference.
executor!(impl<'c> for &'_ Engine<DB>, Engine::clone, take);
executor!(impl<'c> for &'c mut Session<DB>, identity, lend);
executor!(impl<'c> for &'c mut Checkout<DB>, Checkout::session, lend);
executor!(impl<'c> for &'c mut Transaction<DB>, Transaction::session, lend);

async fn take<DB: Backend>(engine: Engine<DB>) -> sqlx::Result<ForQuery<'static, DB>> {
    engine.log_beside("a query runs");
    Ok(ForQuery::Taken(engine.checkout(Holder::Engine).await?))
}

fn lend<DB: Backend>(session: &mut Session<DB>) -> Ready<sqlx::Result<ForQuery<'_, DB>>> {
    let session = session.for_statement().map(ForQuery::Session);
    ready(session.map_err(Into::into))
}
