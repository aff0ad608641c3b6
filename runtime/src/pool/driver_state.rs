//! What the driver counts on a connection, and how one of unknown state is recovered.

use sqlx::{Connection, SqlSafeStr};
use sqlx_core::transaction::TransactionManager;

use crate::backend::Backend;

/// A statement without effect that every supported database accepts, and that a failed Postgres transaction refuses.
const PROBE: &str = "SELECT 1";

/// How many transactions the driver counts.
pub(super) fn depth<DB: Backend>(connection: &DB::Connection) -> usize {
    DB::TransactionManager::get_transaction_depth(connection)
}

/// Lets the driver count a transaction no more that has ended with a message of our own. It counts down with an end alone,
/// and an end outside of a transaction is a warning in the log of Postgres.
pub(super) async fn recount<DB: Backend>(connection: &mut DB::Connection) -> sqlx::Result<()> {
    DB::execute(connection, sqlx::raw_sql("BEGIN")).await?;
    DB::TransactionManager::rollback(connection).await
}

/// Reads what is still to be read and leaves every transaction, by the server's own word.
///
/// The driver's transaction depth is not enough: when the outermost `BEGIN` is cancelled between its sending and its
/// answer, or when it was sent as a plain query, the driver counts no transaction while the server is inside one. So
/// the server is asked, with a statement that the driver believes to begin a transaction: it reports
/// [`sqlx::Error::BeginFailed`] when the server is not in one afterwards.
///
/// `idle_depth` is the number of transactions that the connection is held in, and that are not to be left. `pooled` says
/// that the next transaction may be in another session, which does not know what was prepared in this one. `counts_ended`
/// says that the driver counted one that has ended, before what made the state unknown.
///
/// # Errors
///
/// The connection could not be recovered and must not be used again.
pub(super) async fn recover<DB: Backend>(
    connection: &mut DB::Connection,
    idle_depth: usize,
    pooled: bool,
    counts_ended: bool,
) -> sqlx::Result<()> {
    connection.flush().await?;
    // SQLite counts in its worker thread, so that the depth is true only once the thread has come this far.
    connection.ping().await?;
    if pooled {
        DB::forget_statements(connection).await?;
    }
    if counts_ended {
        recount::<DB>(connection).await?;
    }
    leave_transactions::<DB>(connection, idle_depth).await?;
    if idle_depth > 0 {
        return still_held::<DB>(connection, idle_depth).await;
    }
    match DB::TransactionManager::begin(connection, Some(PROBE.into_sql_str())).await {
        Err(sqlx::Error::BeginFailed) => Ok(()),
        // Inside a transaction that the driver did not know of. It counts it now.
        Ok(()) => leave_transactions::<DB>(connection, idle_depth).await,
        // Inside a failed one, where nothing but its end is accepted.
        Err(sqlx::Error::Database(_)) => {
            DB::execute(connection, sqlx::raw_sql("ROLLBACK")).await?;
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// A connection that is held in a transaction must still be in it. The driver loses count when a nested `BEGIN` is
/// cancelled: it then rolls back one level too many.
async fn still_held<DB: Backend>(
    connection: &mut DB::Connection,
    idle_depth: usize,
) -> sqlx::Result<()> {
    if depth::<DB>(connection) == idle_depth {
        DB::execute(connection, sqlx::raw_sql(PROBE)).await?;
        return Ok(());
    }
    Err(sqlx::Error::BeginFailed)
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
