//! Beginning and ending a transaction on a connection, and savepoints in it.

use sqlx_core::transaction::TransactionManager;
use tokio::sync::oneshot;

use super::checked_out::CheckedOut;
use super::in_transaction::{Begin, InTransaction};
use crate::backend::Backend;
use crate::dialect::Dialect;
use crate::error::TransactionError;

impl<DB: Backend> CheckedOut<DB> {
    /// Begins a transaction. On a connection that is held in a transaction it is a savepoint, whatever the statement.
    ///
    /// `run_again` says that the transaction is run again as a whole after a conflict with another one.
    pub(crate) async fn begin_transaction(
        mut self,
        dialect: &'static Dialect,
        begin: Begin,
        run_again: bool,
    ) -> sqlx::Result<Self> {
        self.transaction = Some(InTransaction {
            dialect,
            conflict: None,
            left: false,
            over: false,
            run_again,
        });
        if self.is_held() {
            let begin = Begin {
                statement: None,
                ..begin
            };
            return self.begin_to_the_end(begin).await;
        }
        self.begin(begin).await?;
        Ok(self)
    }

    /// Begins in a task, so that a caller who goes away half-way leaves a transaction that has begun and is rolled back.
    ///
    /// In a transaction that the connection is held in, the driver takes a cancelled `SAVEPOINT` for the whole
    /// transaction and rolls that back.
    async fn begin_to_the_end(mut self, begin: Begin) -> sqlx::Result<Self> {
        let (sender, outcome) = oneshot::channel();
        tokio::spawn(async move {
            let held = self.begin_held(begin).await.map(|()| self);
            // A receiver that is gone hands the transaction back to us, and dropping it rolls it back.
            let _ = sender.send(held);
        });
        outcome.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    /// Begins a savepoint with a name of the driver's, and then runs what is to be set in it.
    async fn begin_held(&mut self, begin: Begin) -> sqlx::Result<()> {
        self.begin(Begin::default()).await?;
        if begin.set.is_empty() {
            return Ok(());
        }
        self.execute(begin.set).await
    }

    /// What the database said about a conflict with another transaction, if a statement met one.
    pub(crate) fn conflict(&self) -> Option<String> {
        self.transaction.as_ref()?.conflict.clone()
    }

    /// Looks whether a statement can be run: always, outside of a transaction of the pool's.
    ///
    /// # Errors
    ///
    /// The transaction is not there for it.
    pub(crate) fn check_open(&self) -> Result<(), TransactionError> {
        let Some(transaction) = &self.transaction else {
            return Ok(());
        };
        if transaction.over {
            return Err(TransactionError::CancelledInside);
        }
        match &transaction.conflict {
            Some(last) if transaction.run_again || transaction.left => {
                Err(TransactionError::AfterConflict { last: last.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Makes a savepoint. When this is cancelled or fails, the whole transaction is over: the driver then rolls back one
    /// level too many.
    pub(crate) async fn savepoint(&mut self) -> sqlx::Result<()> {
        self.check_open()?;
        self.set_over(true);
        self.run(|connection, _| Box::pin(DB::TransactionManager::begin(connection, None)))
            .await?;
        self.set_over(false);
        Ok(())
    }

    fn set_over(&mut self, over: bool) {
        if let Some(transaction) = &mut self.transaction {
            transaction.over = over;
        }
    }

    /// Keeps what was done since the savepoint.
    pub(crate) async fn release(&mut self) -> sqlx::Result<()> {
        self.run(|connection, _| Box::pin(DB::TransactionManager::commit(connection)))
            .await
    }

    /// Undoes what was done since the savepoint.
    pub(crate) async fn undo(&mut self) -> sqlx::Result<()> {
        self.run(|connection, _| Box::pin(DB::TransactionManager::rollback(connection)))
            .await
    }

    /// Lets the driver undo what was done since the savepoint before its next statement.
    pub(crate) fn start_undo(&mut self) {
        DB::TransactionManager::start_rollback(self);
    }

    /// Runs statements that set something in the transaction.
    pub(crate) async fn set_in_transaction(&mut self, sql: String) -> sqlx::Result<()> {
        self.check_open()?;
        self.execute(sql).await
    }

    /// Commits, and gives the connection back.
    pub(crate) async fn commit_transaction(mut self) -> sqlx::Result<()> {
        self.check_open()?;
        if self.depth_of_transaction() > 1 {
            // On Postgres, a rollback to a savepoint would make a failed transaction good again.
            self.run(|connection, _| DB::execute(connection, sqlx::raw_sql("SELECT 1")))
                .await?;
        }
        // A nested transaction of the driver's own that was forgotten: it was not committed, and the driver would take
        // the commit for its.
        while self.depth_of_transaction() > 1 {
            self.undo().await?;
        }
        self.forget_statements().await?;
        self.commit().await?;
        self.settle_if_idle();
        Ok(())
    }

    /// Rolls back, and gives the connection back.
    pub(crate) async fn roll_back_transaction(mut self) -> sqlx::Result<()> {
        self.forget_statements().await?;
        while self.depth_of_transaction() > 0 {
            self.undo().await?;
        }
        self.settle_if_idle();
        Ok(())
    }

    /// How many levels there are, the transaction's own included.
    fn depth_of_transaction(&self) -> usize {
        let depth = DB::TransactionManager::get_transaction_depth(self);
        depth.saturating_sub(usize::from(self.is_held()))
    }

    /// The server has answered, so nothing is under way.
    fn settle_if_idle(&mut self) {
        if self.is_idle() {
            self.settled();
        }
    }
}
