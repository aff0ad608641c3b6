//! What a connection knows of the transaction that the pool has begun on it.

use futures_core::future::BoxFuture;

use crate::backend::Backend;
use crate::dialect::{Dialect, message};

/// The message that begins a transaction.
#[derive(Debug, Default)]
pub(crate) struct Begin {
    /// In the place of the driver's own statement.
    pub(crate) statement: Option<String>,
    /// Statements that are run in it at once.
    pub(crate) set: String,
}

/// What a connection knows of the transaction that the pool has begun on it.
pub(super) struct InTransaction {
    pub(super) dialect: &'static Dialect,
    /// What the database said about a conflict with another transaction.
    pub(super) conflict: Option<String>,
    /// The server has left the transaction.
    pub(super) left: bool,
    /// A savepoint was cancelled while it was made.
    pub(super) over: bool,
    /// It is run again after a conflict, so nothing more is run in it then.
    pub(super) run_again: bool,
}

impl InTransaction {
    /// Looks at how a statement has ended.
    pub(super) fn see<DB: Backend>(&mut self, error: Option<&sqlx::Error>) {
        if let Some(error) = error {
            self.left |= DB::ends_transaction(error);
            if self.dialect.is_conflict(error) {
                self.conflict = Some(message(error));
            }
        }
    }
}

/// What is to be done after the commit of a transaction that lasts, in this order.
pub(crate) type Hooks = Vec<BoxFuture<'static, ()>>;
