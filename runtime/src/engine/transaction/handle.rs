//! A transaction that owns its connection.

use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::Work;
use super::around::{self, Around};
use super::hooks::{self, AfterCommit};
use crate::backend::Backend;
use crate::engine::Engine;
use crate::error::TransactionError;
use crate::pool::{Cell, CheckedOut, RECOVERY_LIMIT, Session, within};

/// A transaction on a connection of its own, from [`Engine::begin`](crate::Engine::begin) or for a closure of
/// [`Engine::transaction`](crate::Engine::transaction).
///
/// It is an executor (`query.execute(&mut *tx)`, `query.execute(&mut tx)`). It dereferences to a [`Session`], and through it to
/// the driver's connection, for functions that take a `&mut PgConnection`.
///
/// # Drop
///
/// Dropping it without [`commit`](Self::commit) rolls it back, in a task of the pool. The connection is not used again before
/// the server has confirmed that.
#[must_use = "a transaction that is dropped is rolled back"]
pub struct Transaction<DB: Backend> {
    pub(super) session: Session<DB>,
    /// The data that code inside it needs to join it.
    pub(super) this: Around<DB>,
}

impl<DB: Backend> Transaction<DB> {
    /// The transaction that is open on this connection.
    pub(super) fn on(
        connection: CheckedOut<DB>,
        around: impl FnOnce(Arc<Cell<DB>>) -> Around<DB>,
    ) -> Self {
        let (session, cell) = Session::of_transaction(connection);
        Self {
            session,
            this: around(cell),
        }
    }

    /// Runs a future after the lasting commit, for example to send a mail or to call another service.
    ///
    /// The future is dropped, and not run, when the transaction is rolled back, its commit fails or its outcome is unknown;
    /// when its savepoint is rolled back; and when the try is run again. The futures run in the order of these calls, in a task
    /// on the runtime of the pool, in the current span and outside of the transaction, whose connection is back in the pool. The
    /// call that commits ([`Engine::transaction`](crate::Engine::transaction), [`commit`](Self::commit)) returns after them.
    /// On an engine whose pool is not started, they run on the caller's runtime; outside any they are dropped with an error in
    /// the log.
    ///
    /// In a nested transaction they run after the commit of the outermost one; in a test with `isolation = "rollback"`, where
    /// nothing is committed, after the end of the outermost one of the test's body.
    ///
    /// ```no_run
    /// # #[derive(Clone)] struct Mailer;
    /// # impl Mailer { async fn send(&self, _: i64) {} }
    /// # async fn order(db: poolhouse::SqliteEngine, mailer: Mailer) -> sqlx::Result<()> {
    /// db.transaction(async |tx| {
    ///     let id: i64 = sqlx::query_scalar("INSERT INTO orders DEFAULT VALUES RETURNING id").fetch_one(&mut *tx).await?;
    ///     let mailer = mailer.clone();
    ///     tx.on_commit(async move { mailer.send(id).await });
    ///     Ok(())
    /// })
    /// .await
    /// # }
    /// ```
    ///
    /// # Cancellation
    ///
    /// A caller that is dropped after the commit stops none of the futures. One that is dropped during the commit stops all of
    /// them, because the outcome is then unknown.
    ///
    /// # Panics
    ///
    /// A panic in a future is logged. The transaction is committed all the same, and the call reports that.
    pub fn on_commit(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.this.cell.add_hooks(vec![Box::pin(work)]);
    }

    /// Begins a nested transaction: a savepoint, which rolls back on its own.
    ///
    /// # Errors
    ///
    /// The server's error for `SAVEPOINT`.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped before its end, the whole transaction ends: later queries on it are errors. The returned type is
    /// the driver's. If its `commit` is cancelled, it is unknown whether the savepoint is kept; [`transaction`](Self::transaction)
    /// ends the whole transaction then.
    pub fn begin_nested(
        &mut self,
    ) -> impl Future<Output = sqlx::Result<sqlx::Transaction<'_, DB>>> + Send {
        async move { self.connection()?.begin_nested().await }
    }

    /// Commits, and then runs the futures given to [`on_commit`](Self::on_commit). The connection returns to the pool before
    /// they run.
    ///
    /// # Errors
    ///
    /// The server's error for `COMMIT`, such as a deferred constraint or a serialization failure. The transaction is then
    /// rolled back. [`TransactionError::OutcomeUnknown`] if the connection ends during the commit.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, the server may or may not have committed.
    pub fn commit(self) -> impl Future<Output = sqlx::Result<()>> + Send {
        async move {
            let engine = self.this.engine.clone();
            let committed = self.commit_only().await;
            let after = committed.map_err(|error| engine.failed_commit(error))?;
            hooks::run(engine.name(), after).await;
            Ok(())
        }
    }

    /// Commits, and returns the hooks to run afterwards.
    pub(in crate::engine) async fn commit_only(mut self) -> sqlx::Result<AfterCommit> {
        let connection = self.session.take()?;
        let runtime = connection.runtime();
        connection.commit_transaction().await?;
        let hooks = self.this.cell.take_hooks();
        Ok(AfterCommit { hooks, runtime })
    }

    /// Rolls back and waits for the server's confirmation.
    ///
    /// # Errors
    ///
    /// The connection broke; the server rolls back when it notices.
    pub fn rollback(mut self) -> impl Future<Output = sqlx::Result<()>> + Send {
        async move { self.session.take()?.roll_back_transaction().await }
    }

    /// Rolls back. An error is only logged, and so is a server that does not answer, whose connection the pool recovers. Returns
    /// an error when a statement inside may have ended the transaction, whose part before that may be committed.
    pub(super) async fn give_up(mut self) -> Option<TransactionError> {
        let ended = match self.connection() {
            Ok(connection) => connection.ended_before_conflict().await,
            Err(_) => None,
        };
        let rolled_back = within(RECOVERY_LIMIT, "the limit for recovery", self.rollback());
        if let Err(error) = rolled_back.await {
            // The connection has ended, and the transaction with it; or the pool recovers it.
            tracing::debug!("a rollback was not confirmed: {error}");
        }
        ended
    }

    /// The error for a statement inside that has ended the transaction, or may have.
    pub(super) fn ended_inside(&mut self) -> Option<TransactionError> {
        self.connection().ok().and_then(|of| of.ended_inside())
    }

    /// Runs a closure on the transaction. Code inside that only has the engine can join it.
    pub(super) async fn enter<'t, T, E, F>(&'t mut self, work: F) -> Result<T, E>
    where
        F: Work<&'t mut Self, Result<T, E>>,
    {
        let this = self.this.clone();
        self.session.share();
        around::inside(this, work(self)).await
    }

    /// The database's message about a conflict with another transaction, if a statement met one.
    pub(in crate::engine) fn conflict(&mut self) -> Option<String> {
        self.session.connection_mut().ok()?.conflict()
    }

    /// The data that code inside it needs to join it.
    #[cfg(feature = "web")]
    pub(in crate::engine) fn this(&self) -> &Around<DB> {
        &self.this
    }

    /// Leaves the connection to code inside, if there can be any.
    #[cfg(feature = "web")]
    pub(in crate::engine) fn share(&mut self) {
        self.session.share();
    }

    pub(in crate::engine) fn session(&mut self) -> &mut Session<DB> {
        &mut self.session
    }

    pub(super) fn connection(&mut self) -> Result<&mut CheckedOut<DB>, TransactionError> {
        self.session.connection_mut()
    }

    /// Takes the connection for good.
    pub(super) fn take_connection(&mut self) -> Result<CheckedOut<DB>, TransactionError> {
        self.session.take()
    }

    pub(super) fn cell(&self) -> &Cell<DB> {
        &self.this.cell
    }

    pub(super) fn own_engine(&self) -> &Engine<DB> {
        &self.this.engine
    }

    /// The number of transactions around it.
    pub(super) fn depth(&self) -> usize {
        self.this.depth
    }
}

impl<DB: Backend> Drop for Transaction<DB> {
    fn drop(&mut self) {
        // Taken out of the cell, because others may hold the cell for longer.
        drop(self.session.take().ok());
    }
}

impl<DB: Backend> Deref for Transaction<DB> {
    type Target = Session<DB>;

    fn deref(&self) -> &Session<DB> {
        &self.session
    }
}

impl<DB: Backend> DerefMut for Transaction<DB> {
    fn deref_mut(&mut self) -> &mut Session<DB> {
        &mut self.session
    }
}

impl<DB: Backend> fmt::Debug for Transaction<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("engine", &self.this.engine.name())
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

impl<DB: Backend> AsMut<DB::Connection> for Transaction<DB> {
    fn as_mut(&mut self) -> &mut DB::Connection {
        &mut self.session
    }
}
