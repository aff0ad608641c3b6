//! Making a connection of unknown state good again.

use sqlx::{Connection, SqlSafeStr};
use sqlx_core::transaction::TransactionManager;

use crate::backend::Backend;

/// A statement without effect that every supported database accepts, and that a failed Postgres transaction refuses.
const PROBE: &str = "SELECT 1";

/// Reads what is still to be read and leaves every transaction, by the server's own word.
///
/// The driver's transaction depth is not enough: when the outermost `BEGIN` is cancelled between its sending and its
/// answer, or when it was sent as a plain query, the driver counts no transaction while the server is inside one. So
/// the server is asked, with a statement that the driver believes to begin a transaction: it reports
/// [`sqlx::Error::BeginFailed`] when the server is not in one afterwards.
///
/// # Errors
///
/// The connection could not be mended and must not be used again.
pub(super) async fn mend<DB: Backend>(connection: &mut DB::Connection) -> sqlx::Result<()> {
    connection.flush().await?;
    // SQLite counts in its worker thread, so that the depth is true only once the thread has come this far.
    connection.ping().await?;
    leave_transactions::<DB>(connection).await?;
    match DB::TransactionManager::begin(connection, Some(PROBE.into_sql_str())).await {
        Err(sqlx::Error::BeginFailed) => Ok(()),
        // Inside a transaction that the driver did not know of. It counts it now.
        Ok(()) => leave_transactions::<DB>(connection).await,
        // Inside a failed one, where nothing but its end is accepted.
        Err(sqlx::Error::Database(_)) => {
            DB::execute(connection, sqlx::raw_sql("ROLLBACK")).await?;
            Ok(())
        }
        Err(error) => Err(error),
    }
}

async fn leave_transactions<DB: Backend>(connection: &mut DB::Connection) -> sqlx::Result<()> {
    while DB::TransactionManager::get_transaction_depth(connection) > 0 {
        DB::TransactionManager::rollback(connection).await?;
    }
    Ok(())
}
