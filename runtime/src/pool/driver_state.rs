//! The driver's transaction count, and the recovery of a connection of unknown state.

use sqlx::{Connection, SqlSafeStr};
use sqlx_core::transaction::TransactionManager;

use crate::backend::Backend;
use crate::dialect::Dialect;

/// The result of a recovery whose server has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recovered {
    /// Idle, outside of any transaction, and as it was opened.
    Good,
    /// The answers are not those to the statements, or a setting of the session has changed.
    Unfit,
    /// The server no longer has the wanted role.
    OtherRole,
}

/// A statement without effect that every supported database accepts, and that a failed Postgres transaction refuses.
const PROBE: &str = "SELECT 1";

/// The most rollbacks to savepoints that may be answered with an error after a cancellation: more levels than programs nest.
const LEVELS: usize = 16;

/// The number of transactions that the driver counts.
pub(super) fn depth<DB: Backend>(connection: &DB::Connection) -> usize {
    DB::TransactionManager::get_transaction_depth(connection)
}

/// Removes from the driver's count a transaction that ended with a statement of the pool. The driver counts down only when
/// it ends a transaction. An end outside of a transaction causes a warning in the log of Postgres, so one is begun first.
pub(super) async fn recount<DB: Backend>(connection: &mut DB::Connection) -> sqlx::Result<()> {
    DB::execute(connection, sqlx::raw_sql("BEGIN")).await?;
    DB::TransactionManager::rollback(connection).await
}

/// Reads pending data and leaves every transaction, as confirmed by the server.
///
/// The driver's transaction depth is not enough: when the outermost `BEGIN` is cancelled between its sending and its answer,
/// or when it was sent as a plain query, the driver counts no transaction while the server is inside one. So the server is
/// asked, with a statement that the driver takes for the begin of a transaction. The driver reports
/// [`sqlx::Error::BeginFailed`] if the server is not in a transaction afterwards.
///
/// `idle_depth` is the number of transactions that the connection is held in, which stay open. `pooled` says that the next
/// transaction may be in another session, which does not have the statements prepared in this one. `counts_ended` says that
/// the driver's count includes an ended transaction from before the state became unknown.
///
/// At the end the server repeats a text. The drivers count the answers that they await, but not each one: that of a `COPY`, and
/// on MySQL those of a cancelled ping or `prepare`. The next statement would then be given the answer of an earlier one.
///
/// # Errors
///
/// The connection could not be recovered and must not be used again.
pub(super) async fn recover<DB: Backend>(
    connection: &mut DB::Connection,
    dialect: &Dialect,
    idle_depth: usize,
    pooled: bool,
    counts_ended: bool,
) -> sqlx::Result<Recovered> {
    // The driver of SQLite counts in its worker thread. The depth is right only once that thread has reached the ping.
    answered::<DB>(connection).await?;
    if pooled {
        DB::forget_statements(connection).await?;
    }
    // Where `BEGIN` commits an open transaction, nothing may begin before the rollback. The driver's own rollback of the
    // transaction that it counts does this, and causes no warning there.
    if counts_ended && !dialect.begin_commits {
        recount::<DB>(connection).await?;
    }
    leave_transactions::<DB>(connection, idle_depth).await?;
    if dialect.remembers_ends {
        forget_ends::<DB>(connection, idle_depth).await?;
    }
    if idle_depth > 0 {
        // The driver's count is wrong after a cancelled nested `BEGIN`: the driver then rolls back one level too many.
        if depth::<DB>(connection) != idle_depth {
            return Err(sqlx::Error::BeginFailed);
        }
    } else {
        leave_uncounted::<DB>(connection).await?;
    }
    if let Some((_, give_up)) = dialect.locks.filter(|_| idle_depth == 0) {
        DB::execute(connection, sqlx::raw_sql(give_up)).await?;
    }
    let is_intact = repeats::<DB>(connection, dialect.is_intact).await?;
    Ok(if is_intact {
        Recovered::Good
    } else {
        Recovered::Unfit
    })
}

/// Leaves a transaction that the driver does not count.
async fn leave_uncounted<DB: Backend>(connection: &mut DB::Connection) -> sqlx::Result<()> {
    match DB::TransactionManager::begin(connection, Some(PROBE.into_sql_str())).await {
        Err(sqlx::Error::BeginFailed) => Ok(()),
        Ok(()) => leave_transactions::<DB>(connection, 0).await,
        // In a failed transaction, which accepts only its end.
        Err(sqlx::Error::Database(_)) => {
            DB::execute(connection, sqlx::raw_sql("ROLLBACK")).await?;
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Whether the server answers a query with a text that it cannot have sent before.
///
/// # Errors
///
/// The server refused the query, or gave no answer.
pub(super) async fn repeats<DB: Backend>(
    connection: &mut DB::Connection,
    query: fn(&str) -> String,
) -> sqlx::Result<bool> {
    let text = format!("{:016x}", fastrand::u64(..));
    match DB::text_of(connection, query(&text)).await {
        Ok(answer) => Ok(answer == text),
        Err(
            sqlx::Error::RowNotFound
            | sqlx::Error::Protocol(_)
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnIndexOutOfBounds { .. },
        ) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Pings. Answers to rollbacks that the driver has queued come first, and may be errors: a savepoint that a cancelled release has
/// removed.
pub(super) async fn answered<DB: Backend>(connection: &mut DB::Connection) -> sqlx::Result<()> {
    for _ in 0..LEVELS {
        match connection.ping().await {
            Err(sqlx::Error::Database(error)) => {
                tracing::debug!(%error, "a queued rollback was refused");
            }
            answer => return answer,
        }
    }
    connection.ping().await
}

/// Makes the driver forget a commit or rollback whose caller went away before its answer. It would ignore the next queued rollback,
/// which is that of a later transaction.
async fn forget_ends<DB: Backend>(
    connection: &mut DB::Connection,
    idle_depth: usize,
) -> sqlx::Result<()> {
    if idle_depth == 0 {
        // Without an effect outside of a transaction.
        DB::TransactionManager::start_rollback(connection);
        return Ok(());
    }
    // The transaction that the connection is held in must not be rolled back, so this is for another level.
    DB::TransactionManager::begin(connection, None).await?;
    DB::TransactionManager::start_rollback(connection);
    connection.ping().await?;
    leave_transactions::<DB>(connection, idle_depth).await
}

async fn leave_transactions<DB: Backend>(
    connection: &mut DB::Connection,
    idle_depth: usize,
) -> sqlx::Result<()> {
    while depth::<DB>(connection) > idle_depth {
        DB::TransactionManager::rollback(connection).await?;
    }
    Ok(())
}
