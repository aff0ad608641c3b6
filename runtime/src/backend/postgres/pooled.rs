//! Statements behind a pooler in transaction mode, where a session of the server is ours only while a transaction is open
//! (<https://www.pgbouncer.org/features.html>).
//!
//! The driver sends a statement with parameters in two steps, each with its own answer: prepare, then bind and execute.
//! Between the two the pooler may change the session. The second step would then find no prepared statement, or one of
//! another client. So:
//!
//! - A statement without the extended protocol (`raw_sql`) is one message, and safe as it is.
//! - Any other gets a transaction of its own, `BEGIN … COMMIT`: two round trips more. It is not named, so the session keeps
//!   nothing of it.
//! - In a transaction the session is ours. Statements are named and cached there, as usual with this driver. The begin
//!   removes statements that other clients have left, and the cached ones are closed before the end.
//!
//! A statement may be dropped while its own transaction is open. The next one on the same checkout would run in that
//! transaction, so the checkout undoes it first: see [`OpenUnit`].
//!
//! The driver's `BEGIN` cannot be sent together with the next statement, because the driver waits for each answer.

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgConnection, PgStatement, PgTypeInfo};
use sqlx::{Arguments, Connection, Execute, Executor, Postgres, SqlStr};
use sqlx_core::describe::Describe;
use sqlx_core::transaction::TransactionManager;

use crate::backend::{Backend, Executes, OpenUnit, Pooled, Step};
use crate::dialect::{first_words, is_one_of};
use crate::error::{Error, UsageError};
use crate::settings::EngineSettings;

type Transactions = <Postgres as sqlx::Database>::TransactionManager;

/// Removes prepared statements at the begin of a transaction with named statements.
///
/// pgbouncer supports it from 1.22 on, and does not track statements before 1.21; 1.21.0 itself loses track of the
/// statements of others (<https://www.pgbouncer.org/changelog.html>).
pub(super) const CLEAR: &str = "DEALLOCATE ALL";

/// Statements around both steps of a statement, which keep them in one session.
#[derive(Clone, Copy)]
struct Unit {
    open: &'static str,
    keep: &'static str,
    undo: &'static str,
}

/// A transaction of the statement's own.
const OWN: Unit = Unit {
    open: "BEGIN",
    keep: "COMMIT",
    undo: "ROLLBACK",
};

/// A transaction to prepare a named statement in. Nothing of it is kept.
const NAMED: Unit = Unit {
    open: "BEGIN; DEALLOCATE ALL",
    keep: "ROLLBACK",
    undo: "ROLLBACK",
};

/// A savepoint in a transaction that the driver does not count.
const PART: Unit = Unit {
    open: "SAVEPOINT poolhouse",
    keep: "RELEASE SAVEPOINT poolhouse",
    undo: "ROLLBACK TO SAVEPOINT poolhouse; RELEASE SAVEPOINT poolhouse",
};

/// As [`PART`], for a named statement. Nothing of it is kept.
const NAMED_PART: Unit = Unit {
    open: "SAVEPOINT poolhouse; DEALLOCATE ALL",
    keep: PART.undo,
    undo: PART.undo,
};

/// The first words of transaction control statements, which have no parameters. A `SET TRANSACTION` must be the first query of its
/// transaction, and a `PREPARE TRANSACTION` ends it.
const CONTROL: &[&str] = &[
    "BEGIN",
    "START",
    "COMMIT",
    "END",
    "ROLLBACK",
    "ABORT",
    "SAVEPOINT",
    "RELEASE",
    "SET",
    "PREPARE",
];

/// A query that can be sent more than once.
#[derive(Clone)]
struct Query {
    sql: SqlStr,
    statement: Option<PgStatement>,
    /// `None`: in one message, without the extended protocol.
    arguments: Option<PgArguments>,
    named: bool,
}

impl Execute<'_, Postgres> for Query {
    fn sql(self) -> SqlStr {
        self.sql
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.statement.as_ref()
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        Ok(self.arguments.take())
    }

    fn persistent(&self) -> bool {
        self.named
    }
}

impl Query {
    fn read<'q>(mut query: impl Execute<'q, Postgres>) -> sqlx::Result<Self> {
        let named = query.persistent();
        let statement = query.statement().cloned();
        let arguments = query.take_arguments().map_err(sqlx::Error::Encode)?;
        let sql = query.sql();
        let mut query = Self {
            sql,
            statement,
            arguments,
            named,
        };
        let control = first_words(query.sql.as_str())
            .next()
            .is_some_and(|word| is_one_of(word, CONTROL));
        if control {
            query.without_arguments();
        }
        Ok(query)
    }

    /// Removes empty arguments, so that the query is sent in one message; true if there were such.
    fn without_arguments(&mut self) -> bool {
        self.arguments
            .take_if(|arguments| Arguments::len(arguments) == 0)
            .is_some()
    }
}

/// Refuses `LISTEN`, because its notifications would go to the next client of the session.
fn refuse_listen(query: &Query, settings: &EngineSettings) -> Result<(), Error> {
    if first_words(query.sql.as_str()).any(|word| is_one_of(word, &["LISTEN"])) {
        return Err(UsageError::listen(settings).into());
    }
    Ok(())
}

/// The unit around a query; `None` when it is safe as it is.
async fn unit_for(
    connection: &mut PgConnection,
    query: &mut Query,
    pooled: &Pooled,
) -> sqlx::Result<Option<Unit>> {
    if is_counted(connection, pooled) {
        return Ok(None);
    }
    // Cached statements of a transaction that ended without our knowledge are in another session by now.
    forget_statements(connection).await?;
    if query.arguments.is_none() {
        return Ok(None);
    }
    query.named = false;
    let inside = is_inside(connection, pooled).await?;
    Ok(Some(if inside { PART } else { OWN }))
}

pub(super) fn fetch_many<'e, 'q: 'e, E>(
    connection: &'e mut PgConnection,
    query: E,
    pooled: Pooled,
) -> BoxStream<'e, sqlx::Result<Step<Postgres>>>
where
    E: Execute<'q, Postgres> + 'q,
{
    let query = Query::read(query);
    Box::pin(async_stream::try_stream! {
        let mut query = query?;
        refuse_listen(&query, &pooled.settings)?;
        let mut unit = unit_for(connection, &mut query, &pooled).await?;
        let mut tried_again = false;
        loop {
            if let Some(unit) = unit {
                open(connection, unit, &pooled.unit).await?;
            }
            let mut steps = Executor::fetch_many(&mut *connection, query.clone());
            let mut error = None;
            while let Some(step) = steps.next().await {
                match step {
                    Ok(step) => yield step,
                    Err(failed) => {
                        error = Some(failed);
                        break;
                    }
                }
            }
            drop(steps);
            match (unit, error) {
                (None, None) => break,
                (Some(unit), None) => {
                    end(connection, unit.keep, &pooled.unit).await?;
                    break;
                }
                (Some(opened), Some(error)) if !Postgres::ends_session(&error) => {
                    end(connection, opened.undo, &pooled.unit).await?;
                    if lost_its_statement(&error) && !tried_again {
                        tried_again = true;
                    } else if refuses_transactions(&error) && query.without_arguments() {
                        unit = None;
                    } else {
                        Err(error)?;
                    }
                }
                (_, Some(error)) => Err(error)?,
            }
        }
    })
}

pub(super) async fn prepare_with(
    connection: &mut PgConnection,
    sql: SqlStr,
    parameters: &[PgTypeInfo],
    pooled: &Pooled,
) -> sqlx::Result<PgStatement> {
    let unit = open_named(connection, pooled).await?;
    let prepared = Postgres::prepare_with(connection, sql, parameters).await;
    end_named(connection, unit, pooled).await?;
    prepared
}

pub(super) async fn describe(
    connection: &mut PgConnection,
    sql: SqlStr,
    pooled: &Pooled,
) -> sqlx::Result<Describe<Postgres>> {
    let unit = open_named(connection, pooled).await?;
    let described = Postgres::describe(connection, sql).await;
    end_named(connection, unit, pooled).await?;
    described
}

/// Opens a unit for a named statement; `None` in a transaction of the driver, where such statements are safe.
async fn open_named(connection: &mut PgConnection, pooled: &Pooled) -> sqlx::Result<Option<Unit>> {
    if is_counted(connection, pooled) {
        return Ok(None);
    }
    forget_statements(connection).await?;
    let inside = is_inside(connection, pooled).await?;
    let unit = if inside { NAMED_PART } else { NAMED };
    open(connection, unit, &pooled.unit).await?;
    Ok(Some(unit))
}

async fn end_named(
    connection: &mut PgConnection,
    unit: Option<Unit>,
    pooled: &Pooled,
) -> sqlx::Result<()> {
    if let Some(unit) = unit {
        forget_statements(connection).await?;
        end(connection, unit.keep, &pooled.unit).await?;
    }
    Ok(())
}

/// Whether the driver counts an open transaction.
fn is_counted(connection: &PgConnection, pooled: &Pooled) -> bool {
    Transactions::get_transaction_depth(connection) > usize::from(pooled.counts_ended)
}

async fn open(connection: &mut PgConnection, unit: Unit, noted: &OpenUnit) -> sqlx::Result<()> {
    noted.opens(unit.undo);
    run(connection, unit.open).await
}

async fn end(
    connection: &mut PgConnection,
    end: &'static str,
    noted: &OpenUnit,
) -> sqlx::Result<()> {
    // After an error, the driver has not read the whole answer, and sends nothing before it has.
    connection.flush().await?;
    noted.ends();
    run(connection, end).await
}

/// Closes the driver's cached statements.
pub(super) async fn forget_statements(connection: &mut PgConnection) -> sqlx::Result<()> {
    if connection.cached_statements_size() > 0 {
        connection.clear_cached_statements().await?;
    }
    Ok(())
}

/// Runs a statement of ours in one message.
fn run<'c>(connection: &'c mut PgConnection, sql: &'static str) -> BoxFuture<'c, sqlx::Result<()>> {
    Box::pin(async move {
        let mut steps = Executor::fetch_many(connection, sqlx::raw_sql(sql));
        while steps.try_next().await?.is_some() {}
        Ok(())
    })
}

/// Whether a transaction is open on the server that the driver does not count. Outside of one, both times are the statement's
/// arrival.
async fn is_inside(connection: &mut PgConnection, pooled: &Pooled) -> sqlx::Result<bool> {
    if !pooled.begun_by_hand {
        return Ok(false);
    }
    let ask = "SELECT (now() <> statement_timestamp())::int::int8";
    Ok(Postgres::number(connection, ask).await? != 0)
}

/// 26000: the driver has looked up a type between the two steps, and with that query the server forgets a statement without
/// a name (<https://www.postgresql.org/docs/current/protocol-flow.html>). In a second try, the driver knows the type.
fn lost_its_statement(error: &sqlx::Error) -> bool {
    has_code(error, "26000")
}

/// 25001: `VACUUM`, `CREATE DATABASE` and similar statements, which have no parameters.
fn refuses_transactions(error: &sqlx::Error) -> bool {
    has_code(error, "25001")
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.code().as_deref() == Some(code))
}
