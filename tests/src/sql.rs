//! The databases under test as types, for cases that are written once: the statements that differ, and statements on a plain
//! driver connection.

use futures_util::{StreamExt, future::BoxFuture, stream::BoxStream};
use poolhouse::{Backend, Engine};
use sqlx::{AssertSqlSafe, Row};

use crate::Kind;

/// A database under test.
pub trait Sql: Backend {
    /// The product's name in reports.
    const PRODUCT: &'static str;
    /// The kind of server; `None` without one.
    const SERVER: Option<Kind>;
    /// A statement that runs for an hour; `None` where none does.
    const SLEEP: Option<&'static str>;
    /// A query for a number that identifies the session.
    const SESSION: Option<&'static str>;
    /// A query for the port of the server that answers; `None` without one.
    const PORT: Option<&'static str>;
    /// A query for 1 inside a transaction and 0 outside; `None` where only a failing `BEGIN` shows it.
    const IN_TRANSACTION: Option<&'static str>;
    /// A statement that ends its own session; `None` where there is no session.
    const END_SESSION: Option<&'static str>;
    /// A query for more rows than the driver reads at once.
    const MANY_ROWS: &'static str;

    /// Runs statements, unprepared.
    fn run<'c>(connection: &'c mut Self::Connection, sql: &str) -> BoxFuture<'c, sqlx::Result<()>>;

    /// Runs an unprepared query and returns its integer.
    fn answer<'c>(
        connection: &'c mut Self::Connection,
        sql: &str,
    ) -> BoxFuture<'c, sqlx::Result<i64>>;

    /// Runs an unprepared query and streams its rows without their values.
    fn read<'c>(connection: &'c mut Self::Connection, sql: &str)
    -> BoxStream<'c, sqlx::Result<()>>;

    /// Runs a prepared query on the engine itself and returns its integer.
    fn answer_on(engine: Engine<Self>, sql: &str) -> BoxFuture<'static, sqlx::Result<i64>>;

    /// As [`Sql::read`], on the engine itself.
    fn read_on(engine: &Engine<Self>, sql: &str) -> BoxStream<'static, sqlx::Result<()>>;

    /// Runs a query with more values than the protocol allows, which the driver refuses.
    fn too_many_values(connection: &mut Self::Connection) -> BoxFuture<'_, sqlx::Result<()>>;

    /// As [`Sql::too_many_values`], on the engine itself.
    fn too_many_values_on(engine: Engine<Self>) -> BoxFuture<'static, sqlx::Result<()>>;

    /// Begins a transaction that the connection's borrower owns.
    fn begin(
        connection: &mut Self::Connection,
    ) -> BoxFuture<'_, sqlx::Result<sqlx::Transaction<'_, Self>>>;
}

/// More than the protocol of Postgres allows: <https://www.postgresql.org/docs/current/protocol-message-formats.html>.
const TOO_MANY: i32 = 70_000;

macro_rules! database {
    ($database:ty { $($facts:tt)* }) => {
        impl Sql for $database {
            $($facts)*

            fn run<'c>(connection: &'c mut Self::Connection, sql: &str) -> BoxFuture<'c, sqlx::Result<()>> {
                let sql = AssertSqlSafe(sql.to_owned());
                Box::pin(async move { sqlx::raw_sql(sql).execute(connection).await.map(drop) })
            }

            fn answer<'c>(connection: &'c mut Self::Connection, sql: &str) -> BoxFuture<'c, sqlx::Result<i64>> {
                let sql = AssertSqlSafe(sql.to_owned());
                Box::pin(async move { sqlx::raw_sql(sql).fetch_one(connection).await?.try_get(0) })
            }

            fn read<'c>(connection: &'c mut Self::Connection, sql: &str) -> BoxStream<'c, sqlx::Result<()>> {
                let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch(connection);
                Box::pin(rows.map(|row| row.map(drop)))
            }

            fn answer_on(engine: Engine<Self>, sql: &str) -> BoxFuture<'static, sqlx::Result<i64>> {
                let sql = AssertSqlSafe(sql.to_owned());
                Box::pin(async move { sqlx::query_scalar(sql).fetch_one(&engine).await })
            }

            fn read_on(engine: &Engine<Self>, sql: &str) -> BoxStream<'static, sqlx::Result<()>> {
                let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch(engine);
                Box::pin(rows.map(|row| row.map(drop)))
            }

            fn too_many_values(connection: &mut Self::Connection) -> BoxFuture<'_, sqlx::Result<()>> {
                let values = (0..TOO_MANY).fold(sqlx::query("SELECT 1"), |query, value| query.bind(value));
                Box::pin(async move { values.execute(connection).await.map(drop) })
            }

            fn too_many_values_on(engine: Engine<Self>) -> BoxFuture<'static, sqlx::Result<()>> {
                let values = (0..TOO_MANY).fold(sqlx::query("SELECT 1"), |query, value| query.bind(value));
                Box::pin(async move { values.execute(&engine).await.map(drop) })
            }

            fn begin(connection: &mut Self::Connection) -> BoxFuture<'_, sqlx::Result<sqlx::Transaction<'_, Self>>> {
                Box::pin(sqlx::Connection::begin(connection))
            }
        }
    };
}

database!(sqlx::Postgres {
    const PRODUCT: &'static str = "Postgres";
    const SERVER: Option<Kind> = Some(Kind::Postgres);
    const SLEEP: Option<&'static str> = Some("SELECT pg_sleep(3600)");
    const SESSION: Option<&'static str> = Some("SELECT pg_backend_pid()::int8");
    const PORT: Option<&'static str> = Some("SELECT inet_server_port()::int8");
    // Outside a transaction, both are the time at which the statement arrived. This holds only for an unprepared statement,
    // because a prepared one takes several messages.
    const IN_TRANSACTION: Option<&'static str> = Some("SELECT (now() <> statement_timestamp())::int::int8");
    const END_SESSION: Option<&'static str> = Some("SELECT pg_terminate_backend(pg_backend_pid())");
    const MANY_ROWS: &'static str = "SELECT repeat('x', 100) FROM generate_series(1, 5000)";
});

database!(sqlx::MySql {
    const PRODUCT: &'static str = "MariaDB";
    const SERVER: Option<Kind> = Some(Kind::MariaDb);
    const SLEEP: Option<&'static str> = Some("SELECT SLEEP(3600)");
    const SESSION: Option<&'static str> = Some("SELECT CAST(CONNECTION_ID() AS SIGNED)");
    const PORT: Option<&'static str> = Some("SELECT CAST(@@port AS SIGNED)");
    const IN_TRANSACTION: Option<&'static str> = Some("SELECT CAST(@@in_transaction AS SIGNED)");
    const END_SESSION: Option<&'static str> = Some("KILL CONNECTION_ID()");
    const MANY_ROWS: &'static str = "SELECT repeat('x', 100) FROM seq_1_to_5000";
});

database!(sqlx::Sqlite {
    const PRODUCT: &'static str = "SQLite";
    const SERVER: Option<Kind> = None;
    const SLEEP: Option<&'static str> = None;
    const SESSION: Option<&'static str> = None;
    const PORT: Option<&'static str> = None;
    const IN_TRANSACTION: Option<&'static str> = None;
    const END_SESSION: Option<&'static str> = None;
    const MANY_ROWS: &'static str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) \
                                     SELECT hex(zeroblob(50)) FROM n";
});

/// Asks the database whether the connection is inside a transaction.
///
/// # Errors
/// When the query fails, as it does inside a failed transaction.
pub async fn in_transaction<DB: Sql>(connection: &mut DB::Connection) -> sqlx::Result<bool> {
    if let Some(query) = DB::IN_TRANSACTION {
        return Ok(DB::answer(connection, query).await? != 0);
    }
    match DB::run(connection, "BEGIN").await {
        Ok(()) => DB::run(connection, "ROLLBACK").await.map(|()| false),
        Err(sqlx::Error::Database(_)) => Ok(true),
        Err(error) => Err(error),
    }
}
