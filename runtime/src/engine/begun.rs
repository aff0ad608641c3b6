//! A connection inside of a transaction.

use sqlx_core::transaction::TransactionManager;
use tokio::sync::oneshot;

use crate::backend::Backend;
use crate::error::TransactionError;
use crate::pool::Checkout;

/// A connection inside of a transaction, which is rolled back when this is dropped.
#[derive(Debug)]
pub(super) struct Begun<DB: Backend> {
    checkout: Checkout<DB>,
    /// A savepoint was cancelled while it was made.
    over: bool,
    /// Someone runs it again after a conflict, so nothing more is run in it then.
    run_again: bool,
}

impl<DB: Backend> Begun<DB> {
    /// Begins on this connection, with the database's own statement or with this one. On a connection that is held in a
    /// transaction it is a savepoint, whatever the statement.
    pub(super) async fn begin(
        checkout: Checkout<DB>,
        statement: Option<String>,
    ) -> sqlx::Result<Self> {
        if checkout.is_held() {
            Self::begin_to_the_end(checkout).await
        } else {
            Self::begin_here(checkout, statement).await
        }
    }

    async fn begin_here(
        mut checkout: Checkout<DB>,
        statement: Option<String>,
    ) -> sqlx::Result<Self> {
        checkout.begin(statement).await?;
        Ok(Self {
            checkout,
            over: false,
            run_again: false,
        })
    }

    /// Begins in a task, so that a caller who goes away half-way leaves a transaction that has begun and is rolled back.
    ///
    /// In a transaction that the connection is held in, the driver takes a cancelled `SAVEPOINT` for the whole
    /// transaction and rolls that back.
    async fn begin_to_the_end(checkout: Checkout<DB>) -> sqlx::Result<Self> {
        let (began, outcome) = oneshot::channel();
        tokio::spawn(async move {
            // A receiver that is gone hands the transaction back to us, and dropping it rolls it back.
            let _ = began.send(Self::begin_here(checkout, None).await);
        });
        outcome.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    /// Says that it is run again as a whole after a conflict with another transaction, so that a statement after the
    /// conflict would be lost with it.
    pub(super) fn run_again_after_conflicts(&mut self) {
        self.run_again = true;
    }

    /// What the database said about a conflict with another transaction, if a statement met one.
    pub(super) fn conflict(&self) -> Option<String> {
        self.checkout.conflict()
    }

    /// The checkout as it is, for the driver's own connection.
    pub(super) fn raw(&self) -> &Checkout<DB> {
        &self.checkout
    }

    pub(super) fn raw_mut(&mut self) -> &mut Checkout<DB> {
        &mut self.checkout
    }

    /// The checkout for a statement.
    ///
    /// # Errors
    ///
    /// The transaction is not there for it.
    pub(super) fn checkout_mut(&mut self) -> Result<&mut Checkout<DB>, TransactionError> {
        self.still_there()?;
        Ok(&mut self.checkout)
    }

    fn still_there(&self) -> Result<(), TransactionError> {
        if self.over {
            return Err(TransactionError::CancelledInside);
        }
        let nothing_more = self.run_again || self.checkout.lost_its_transaction();
        match self.conflict().filter(|_| nothing_more) {
            Some(last) => Err(TransactionError::AfterConflict { last }),
            None => Ok(()),
        }
    }

    /// Makes a savepoint. When this is cancelled or fails, the whole transaction is over: the driver then rolls back one
    /// level too many.
    pub(super) async fn savepoint(&mut self) -> sqlx::Result<()> {
        self.still_there()?;
        self.over = true;
        self.checkout
            .run(|connection, _| Box::pin(DB::TransactionManager::begin(connection, None)))
            .await?;
        self.over = false;
        Ok(())
    }

    /// Keeps what was done since the savepoint.
    pub(super) async fn release(&mut self) -> sqlx::Result<()> {
        self.checkout
            .run(|connection, _| Box::pin(DB::TransactionManager::commit(connection)))
            .await
    }

    /// Undoes what was done since the savepoint.
    pub(super) async fn undo(&mut self) -> sqlx::Result<()> {
        self.checkout
            .run(|connection, _| Box::pin(DB::TransactionManager::rollback(connection)))
            .await
    }

    /// Lets the driver undo what was done since the savepoint before its next statement.
    pub(super) fn start_undo(&mut self) {
        DB::TransactionManager::start_rollback(&mut self.checkout);
    }

    pub(super) async fn commit(mut self) -> sqlx::Result<()> {
        self.still_there()?;
        if self.depth() > 1 {
            // On Postgres, a rollback to a savepoint would make a failed transaction good again.
            self.checkout
                .run(|connection, _| DB::execute(connection, sqlx::raw_sql("SELECT 1")))
                .await?;
        }
        // A nested transaction of the driver's own that was forgotten: it was not committed, and the driver would take
        // the commit for its.
        while self.depth() > 1 {
            self.undo().await?;
        }
        self.checkout.forget_statements().await?;
        self.checkout.commit().await?;
        self.settled();
        Ok(())
    }

    pub(super) async fn rollback(mut self) -> sqlx::Result<()> {
        self.checkout.forget_statements().await?;
        while self.depth() > 0 {
            self.undo().await?;
        }
        self.settled();
        Ok(())
    }

    /// How many levels there are, this transaction's own included.
    fn depth(&self) -> usize {
        let depth = DB::TransactionManager::get_transaction_depth(&self.checkout);
        depth.saturating_sub(usize::from(self.checkout.is_held()))
    }

    /// The server has answered, so nothing is under way.
    fn settled(&mut self) {
        if self.checkout.is_idle() {
            self.checkout.settled();
        }
    }
}
