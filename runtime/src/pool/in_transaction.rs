//! The state of a transaction that the pool has begun on a connection.

use futures_core::future::BoxFuture;

use crate::backend::Backend;
use crate::dialect::{Dialect, message};

/// The message that begins a transaction.
#[derive(Debug, Default)]
pub(crate) struct Begin {
    /// Replaces the driver's own statement.
    pub(crate) statement: Option<String>,
    /// Statements that run in the transaction right after its begin.
    pub(crate) set: String,
}

/// The state of a transaction that the pool has begun on a connection.
pub(super) struct InTransaction {
    pub(super) dialect: &'static Dialect,
    /// The database's message about a conflict with another transaction.
    pub(super) conflict: Option<String>,
    /// The server has left the transaction.
    pub(super) left: bool,
    /// The creation of a savepoint was cancelled, or failed.
    pub(super) over: bool,
    /// The transaction is run again after a conflict, so that no further statement runs in it then.
    pub(super) run_again: bool,
}

impl InTransaction {
    /// Notes how a statement has ended.
    pub(super) fn see<DB: Backend>(&mut self, error: Option<&sqlx::Error>) {
        if let Some(error) = error {
            self.left |= DB::ends_transaction(error);
            if self.dialect.is_conflict(error) {
                self.conflict = Some(message(error));
            }
        }
    }
}

/// Work to do after the outermost commit, in this order.
pub(crate) type Hooks = Vec<BoxFuture<'static, ()>>;
