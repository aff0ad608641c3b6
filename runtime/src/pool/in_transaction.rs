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
    /// Statements that end the effect of `set` where the transaction is a savepoint, whose release does not.
    pub(crate) restore: Option<String>,
}

/// The state of a transaction that the pool has begun on a connection.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact about the transaction"
)]
pub(super) struct InTransaction {
    pub(super) dialect: &'static Dialect,
    /// The database's message about a conflict with another transaction.
    pub(super) conflict: Option<String>,
    /// Statements to run before its commit.
    pub(super) restore: Option<String>,
    /// The server has left the transaction.
    pub(super) left: bool,
    /// An error has said that the transaction is no longer open.
    pub(super) lost: bool,
    /// As `lost`, said at the rollback to a savepoint. The cause may be a conflict that the pool has not seen.
    pub(super) lost_at_undo: bool,
    /// A statement in it has failed.
    pub(super) has_failed: bool,
    /// A statement in it has failed, or its end was not seen, and the database was not asked since whether the transaction is still
    /// open.
    pub(super) must_ask: bool,
    /// A statement of the program has run in it well.
    pub(super) has_run: bool,
    /// The transaction is run again after a conflict, so that no further statement runs in it then.
    pub(super) run_again: bool,
}

impl InTransaction {
    /// Notes that a statement begins, whose end is not seen if its caller goes away.
    pub(super) fn begin_statement(&mut self) {
        self.must_ask = self.dialect.inside.is_some();
    }

    /// Notes how a statement has ended.
    pub(super) fn see<DB: Backend>(&mut self, error: Option<&sqlx::Error>) {
        if let Some(error) = error {
            self.has_failed = true;
            self.must_ask = self.dialect.inside.is_some();
            // After a conflict with which the server has left it, it is known how the transaction ended.
            self.lost |= !self.left && self.dialect.is_lost(error);
            self.left |= DB::ends_transaction(error);
            let is_conflict = self.dialect.is_conflict(error)
                || (self.has_run && self.dialect.is_conflict_once_begun(error));
            if is_conflict {
                self.conflict = Some(message(error));
            } else if DB::ends_transaction(error) {
                self.lost = true;
            }
        } else {
            self.has_run = true;
            self.must_ask = false;
        }
    }
}

/// Work to do after the outermost commit, in this order.
pub(crate) type Hooks = Vec<BoxFuture<'static, ()>>;
