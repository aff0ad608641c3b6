//! Beginning and ending a transaction on a connection, and savepoints in it.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr};
use sqlx_core::transaction::TransactionManager;
use tokio::sync::oneshot;

use super::checked_out::{CheckedOut, UNANSWERED, UNANSWERED_LIMIT};
use super::driver_state::{answered, repeats};
use super::in_transaction::{Begin, InTransaction};
use super::recovery::RECOVERY_LIMIT;
use super::within::within;
use crate::backend::Backend;
use crate::dialect::{Dialect, echo, message};
use crate::error::TransactionError;

impl<DB: Backend> CheckedOut<DB> {
    /// Begins a transaction. On a held connection it is a savepoint, and `begin.statement` is ignored.
    ///
    /// `run_again` says that the transaction is run again as a whole after a conflict with another one.
    pub(crate) async fn begin_transaction(
        mut self,
        dialect: &'static Dialect,
        mut begin: Begin,
        run_again: bool,
    ) -> sqlx::Result<Self> {
        self.transaction = Some(InTransaction {
            dialect,
            conflict: None,
            restore: begin.restore.take(),
            left: false,
            lost: false,
            lost_at_undo: false,
            has_failed: false,
            must_ask: false,
            has_run: false,
            run_again,
        });
        self.record().set_over(false);
        if self.is_held() {
            let begin = Begin {
                statement: None,
                ..begin
            };
            return self.begin_to_the_end(begin).await;
        }
        self.begin(begin).await?;
        self.set_has_run(false);
        Ok(self)
    }

    /// Begins a savepoint in a task, so that a cancelled caller leaves a complete one, which is rolled back.
    ///
    /// On a held connection, the driver takes a cancelled `SAVEPOINT` for the whole transaction and rolls that back.
    async fn begin_to_the_end(mut self, begin: Begin) -> sqlx::Result<Self> {
        let (sender, outcome) = oneshot::channel();
        tokio::spawn(async move {
            let held = self.begin_held(begin).await;
            self.set_has_run(false);
            let held = held.map(|()| self);
            // Without a receiver, `send` returns the transaction, and its drop rolls it back.
            let _ = sender.send(held);
        });
        outcome.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    /// Begins a savepoint that the driver names, and then runs `begin.set` in it.
    async fn begin_held(&mut self, begin: Begin) -> sqlx::Result<()> {
        self.begin(Begin::default()).await?;
        if begin.set.is_empty() {
            return Ok(());
        }
        self.execute(begin.set).await
    }

    /// The database's message about a conflict with another transaction, if a statement met one.
    pub(crate) fn conflict(&self) -> Option<String> {
        self.transaction.as_ref()?.conflict.clone()
    }

    /// Checks whether a statement can run. Outside of a transaction of the pool it always can.
    ///
    /// # Errors
    ///
    /// The transaction is over, or accepts no more statements after a conflict.
    pub(crate) fn check_open(&self) -> Result<(), TransactionError> {
        self.check_inside()?;
        match &self.transaction {
            Some(transaction) if transaction.run_again => self.check_conflict(transaction),
            _ => Ok(()),
        }
    }

    /// Checks whether the server is still inside the transaction, as far as is known. It would commit a statement by itself
    /// otherwise.
    ///
    /// # Errors
    ///
    /// The transaction is over.
    pub(crate) fn check_inside(&self) -> Result<(), TransactionError> {
        let Some(transaction) = &self.transaction else {
            return Ok(());
        };
        // The driver counts no level after it has rolled back the whole transaction.
        if transaction.lost
            || transaction.lost_at_undo
            || self.record().is_over()
            || self.depth_of_transaction() == 0
        {
            return Err(self.over());
        }
        if transaction.left {
            return self.check_conflict(transaction);
        }
        Ok(())
    }

    fn check_conflict(&self, transaction: &InTransaction) -> Result<(), TransactionError> {
        let Some(last) = &transaction.conflict else {
            return Ok(());
        };
        let after = || TransactionError::AfterConflict { last: last.clone() };
        Err(self.ended_inside().unwrap_or_else(after))
    }

    /// The error for a transaction that is over. It says "begin again" only if nothing of the transaction can be committed.
    fn over(&self) -> TransactionError {
        let ended = self.ended_inside();
        let is_lost = self.transaction.as_ref().is_some_and(|of| of.lost_at_undo);
        ended
            .or_else(|| is_lost.then(|| self.lost()))
            .unwrap_or(TransactionError::CancelledInside)
    }

    /// As [`ended_inside`](Self::ended_inside), before the transaction is run again. The pool has not seen what ran on the driver's
    /// connection, so the server is asked whether the transaction is the one that began.
    pub(crate) async fn ended_before_conflict(&mut self) -> Option<TransactionError> {
        let ended = self.ended_inside();
        let transaction = self.transaction.as_ref()?;
        let is_inside = transaction.conflict.is_some() && !transaction.left;
        if ended.is_some() || !is_inside || !self.was_borrowed() {
            return ended;
        }
        let dialect = transaction.dialect;
        let mark = self.mark().map(|mark| mark.check.to_owned());
        let check = async {
            match mark {
                Some(check) => self.execute(check).await,
                None => self.ask_whether_inside().await,
            }
        };
        let checked = within(RECOVERY_LIMIT, "the limit for recovery", check).await;
        // A failed transaction is still open.
        checked
            .is_err_and(|error| !dialect.has_failed_before(&error))
            .then(|| self.lost())
    }

    /// Creates a savepoint. If this is cancelled or fails, the whole transaction is over, because the driver of Postgres then
    /// rolls back one level too many.
    pub(crate) async fn savepoint(&mut self) -> sqlx::Result<()> {
        self.check_open()?;
        self.check_answering().await?;
        self.ask_whether_inside().await?;
        self.record().set_over(true);
        let had_run = self.has_run();
        let begun = self
            .run(|connection, _| Box::pin(DB::TransactionManager::begin(connection, None)))
            .await;
        if let Err(error) = begun {
            // The driver has queued a rollback that it does not count.
            self.unsettle();
            // On MySQL the driver reads from the answer that the server is in no transaction.
            if let (sqlx::Error::BeginFailed, Some(transaction)) = (&error, &mut self.transaction) {
                transaction.lost = true;
                return Err(self.lost().into());
            }
            return Err(self.if_lost(error));
        }
        // It is no statement of the program.
        self.set_has_run(had_run);
        self.record().set_over(false);
        Ok(())
    }

    /// Asks whether the transaction is still open, where a `SAVEPOINT` would begin another one. Only after a statement that may have
    /// ended it. If this is cancelled, it is asked again.
    pub(super) async fn ask_whether_inside(&mut self) -> sqlx::Result<()> {
        let Some(transaction) = &self.transaction else {
            return Ok(());
        };
        let Some((question, inside)) = transaction.dialect.inside else {
            return Ok(());
        };
        if !self.may_have_ended() {
            return Ok(());
        }
        let had_run = self.has_run();
        self.must_not_ask();
        let outcome = Box::pin(self.execute(question.to_owned())).await;
        self.set_has_run(had_run);
        match outcome {
            Err(error) if message(&error).ends_with(inside) => {
                self.must_not_ask();
                Ok(())
            }
            Err(error) => Err(self.if_lost(error)),
            Ok(()) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.lost = true;
                }
                Err(self.lost().into())
            }
        }
    }

    fn must_not_ask(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.must_ask = false;
        }
    }

    fn has_run(&self) -> bool {
        self.transaction.as_ref().is_some_and(|of| of.has_run)
    }

    fn set_has_run(&mut self, has_run: bool) {
        if let Some(transaction) = &mut self.transaction {
            transaction.has_run = has_run;
        }
    }

    /// As [`savepoint`](Self::savepoint), as a transaction of the driver. On a checkout it is the outermost one.
    pub(crate) async fn begin_nested(&mut self) -> sqlx::Result<sqlx::Transaction<'_, DB>> {
        self.check_open()?;
        self.check_answering().await?;
        let is_outermost = self.depth_of_transaction() == 0;
        if !is_outermost {
            self.ask_whether_inside().await?;
        }
        let mut statement = None;
        if let Some(clear) = DB::CLEAR_POOLED.filter(|_| is_outermost && self.unit.is_some()) {
            // The transaction may be in another session than the last one, among statements of others.
            self.forget_statements().await?;
            statement = Some(AssertSqlSafe(format!("BEGIN; {clear}")).into_sql_str());
        }
        // The transaction borrows the connection, so the record is held beside it.
        let record = Arc::clone(self.record());
        record.set_over(true);
        let begun = sqlx::Transaction::begin(&mut **self, statement).await?;
        record.set_over(false);
        Ok(begun)
    }

    /// Releases the savepoint and keeps its changes. If this is cancelled, the whole transaction is over, because it is unknown
    /// whether there is still a savepoint to roll back to, or one of the same name from before.
    ///
    /// # Errors
    ///
    /// The server's; or the transaction is over. The driver may then count one level less, and would commit the transaction.
    pub(crate) async fn release(&mut self) -> sqlx::Result<()> {
        if self.record().is_over() {
            return Err(self.over().into());
        }
        self.record().set_over(true);
        let had_run = self.has_run();
        let released = self
            .run(|connection, _| Box::pin(DB::TransactionManager::commit(connection)))
            .await;
        self.set_has_run(had_run);
        self.record().set_over(false);
        released.map_err(|error| self.if_lost(error))
    }

    /// Rolls back the innermost level: a savepoint, or the transaction itself.
    pub(crate) async fn undo(&mut self) -> sqlx::Result<()> {
        let had_run = self.has_run();
        let was_lost = self.transaction.as_ref().is_some_and(|of| of.lost);
        let undone = self
            .run(|connection, _| Box::pin(DB::TransactionManager::rollback(connection)))
            .await;
        self.set_has_run(had_run);
        if let Some(transaction) = &mut self.transaction
            && transaction.lost
            && !was_lost
        {
            // A conflict on the driver's connection, which the pool has not seen, may have ended it.
            transaction.lost = false;
            transaction.lost_at_undo = true;
        }
        undone
    }

    /// Queues a rollback to the savepoint, which the driver sends before its next statement.
    pub(crate) fn start_undo(&mut self) {
        DB::TransactionManager::start_rollback(self);
    }

    /// Runs statements that change settings in the transaction.
    pub(crate) async fn set_in_transaction(&mut self, sql: String) -> sqlx::Result<()> {
        self.check_open()?;
        self.execute(sql).await
    }

    /// Commits, and returns the connection.
    pub(crate) async fn commit_transaction(mut self) -> sqlx::Result<()> {
        self.check_open()?;
        self.check_answers().await?;
        if self.depth_of_transaction() > 1 {
            // On Postgres, a rollback to a savepoint would make a failed transaction usable again. In a failed one, this
            // statement fails.
            self.run(|connection, _| DB::execute(connection, sqlx::raw_sql("SELECT 1")))
                .await
                .map_err(|error| self.if_lost(error))?;
        }
        // A nested transaction of the driver's own was leaked without a commit. It is rolled back first, because the driver
        // would apply the commit to it.
        while self.depth_of_transaction() > 1 {
            self.undo().await.map_err(|error| self.if_lost(error))?;
        }
        let restore = self.transaction.as_mut().and_then(|of| of.restore.take());
        if let Some(restore) = restore {
            self.execute(restore).await?;
        }
        self.forget_statements().await?;
        self.commit().await?;
        self.settle_if_idle();
        Ok(())
    }

    /// Checks that the server's next answer is that to the next statement, if something has run whose answer may be unread. The
    /// answer to an earlier statement would be taken for that to the `COMMIT`.
    async fn check_answers(&mut self) -> sqlx::Result<()> {
        if self.is_settled() {
            return Ok(());
        }
        let repeats = match self.check_answering().await {
            Ok(()) => {
                self.run(|connection, _| Box::pin(repeats::<DB>(connection, echo)))
                    .await?
            }
            // That of a statement whose caller went away.
            Err(error @ sqlx::Error::Database(_)) => return Err(error),
            // The driver has given up a statement half-way.
            Err(_) => false,
        };
        if repeats {
            return Ok(());
        }
        let engine = self.engine().to_owned();
        Err(TransactionError::UnreadAnswer { engine }.into())
    }

    /// Rolls back, and returns the connection.
    pub(crate) async fn roll_back_transaction(mut self) -> sqlx::Result<()> {
        let was_settled = self.is_settled();
        self.forget_statements().await?;
        if self.record().is_over() || self.depth_of_transaction() == 0 {
            // After a cancelled begin or release of a nested one, the driver has queued rollbacks, perhaps of everything.
            self.forget_unanswered();
            let answers = self.run(|connection, _| Box::pin(answered::<DB>(connection)));
            within(UNANSWERED_LIMIT, UNANSWERED, answers).await?;
        }
        // An unread answer may be taken for that to the rollback.
        let is_confirmed = was_settled && self.depth_of_transaction() > 0;
        while self.depth_of_transaction() > 0 {
            self.undo().await?;
        }
        if is_confirmed {
            self.settle_if_idle();
        } else {
            // The pool asks the server once more.
            self.unsettle();
        }
        Ok(())
    }

    /// The number of levels, including the transaction's own.
    fn depth_of_transaction(&self) -> usize {
        let depth = DB::TransactionManager::get_transaction_depth(self);
        depth.saturating_sub(usize::from(self.is_held()))
    }

    /// Marks an idle connection as clean, because the server has answered.
    fn settle_if_idle(&mut self) {
        let is_unchanged = !self.record().saw_transaction_control() && !self.may_be_changed();
        if self.is_idle() && is_unchanged {
            self.settled();
        }
    }
}
