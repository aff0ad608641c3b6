//! A transaction that owns its connection.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};

use futures_core::future::BoxFuture;

use super::Engine;
use super::begun::Begun;
use super::scope::{self, Desk};
use crate::backend::Backend;
use crate::error::TransactionError;
use crate::pool::Checkout;

/// A transaction on a connection of its own, from [`Engine::begin`](crate::Engine::begin).
///
/// It is an executor (`query.execute(&mut transaction)`) and dereferences to the driver's connection (`&mut *transaction`).
///
/// # Drop
///
/// Dropping it without [`commit`](Self::commit) rolls it back, in a task of the pool; nobody gets the connection before
/// the server has confirmed that.
///
/// # Panics
///
/// Dereferencing it to the driver's connection panics while a [`scoped_transaction`](crate::Engine::scoped_transaction)
/// in a future beside this one has the connection. A query on it is an error then.
#[derive(Debug)]
#[must_use = "a transaction that is dropped is rolled back"]
pub struct Transaction<DB: Backend> {
    /// The connection, while it does not lie on the desk.
    hand: OnceLock<Begun<DB>>,
    desk: Arc<Desk<DB>>,
}

impl<DB: Backend> Transaction<DB> {
    /// The transaction that this connection of the engine is inside of.
    pub(super) fn of(engine: Engine<DB>, begun: Begun<DB>) -> Self {
        Self {
            hand: OnceLock::from(begun),
            desk: Desk::new(engine),
        }
    }

    /// Runs a closure in a nested transaction, which is a savepoint: kept when it returns `Ok`, and rolled back when it
    /// returns `Err`, panics or is dropped half-way. The transaction around it goes on, and alone decides what is
    /// committed.
    ///
    /// Code inside that only has the engine can join it through
    /// [`scoped_transaction`](crate::Engine::scoped_transaction).
    ///
    /// ```no_run
    /// # async fn add(db: poolhouse::SqliteEngine) -> sqlx::Result<()> {
    /// db.transaction(|transaction| Box::pin(async move {
    ///     let added: sqlx::Result<()> = transaction
    ///         .transaction(|nested| Box::pin(async move {
    ///             sqlx::query("INSERT INTO band (id) VALUES (1)").execute(nested).await.map(drop)
    ///         }))
    ///         .await;
    ///     if added.is_err() {
    ///         sqlx::query("UPDATE band SET seen = 1 WHERE id = 1").execute(transaction).await?;
    ///     }
    ///     Ok(())
    /// }))
    /// .await
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The closure's own, and what the server says to the savepoint. A conflict with another transaction is not retried
    /// here: it concerns the whole, which [`Engine::transaction`](crate::Engine::transaction) retries.
    ///
    /// # Cancellation
    ///
    /// The future may be dropped at any await point. While the savepoint is being made, the whole transaction ends with it:
    /// later queries on it are errors.
    pub async fn transaction<T, E, F>(&mut self, work: F) -> Result<T, E>
    where
        E: From<sqlx::Error>,
        F: for<'t> FnOnce(&'t mut Transaction<DB>) -> BoxFuture<'t, Result<T, E>>,
    {
        if let Some(begun) = self.hand.take() {
            self.desk.lay(begun);
        }
        scope::nested(Arc::clone(&self.desk), work).await
    }

    /// Runs a closure on it, inside of which code that only has the engine can join.
    pub(super) async fn enter<'t, T, E>(
        &'t mut self,
        work: impl FnOnce(&'t mut Self) -> BoxFuture<'t, Result<T, E>>,
    ) -> Result<T, E> {
        let desk = Arc::clone(&self.desk);
        self.lay_down();
        scope::inside(desk, work(self)).await
    }

    /// What the database said about a conflict with another transaction, if a statement met one.
    pub(super) fn conflict(&mut self) -> Option<String> {
        self.pick_up().ok()?.conflict()
    }

    /// Rolls back, as well as it can be done.
    pub(super) async fn give_up(self) {
        if let Err(error) = self.rollback().await {
            // The connection has ended, and the transaction with it.
            tracing::debug!("a rollback was not confirmed: {error}");
        }
    }

    /// Begins a nested transaction: a savepoint, which rolls back on its own.
    ///
    /// # Errors
    ///
    /// What the server says to `SAVEPOINT`.
    pub fn begin_nested(
        &mut self,
    ) -> impl Future<Output = sqlx::Result<sqlx::Transaction<'_, DB>>> + Send {
        async move {
            let checkout = self.pick_up()?.checkout_mut()?;
            sqlx::Connection::begin(&mut **checkout).await
        }
    }

    /// Commits. The connection goes back to the pool at once.
    ///
    /// # Errors
    ///
    /// What the server says to `COMMIT`, such as a deferred constraint or a serialization failure. The transaction is then
    /// rolled back. When the connection breaks meanwhile, nobody knows whether the server has committed.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, the server may or may not have committed.
    pub fn commit(mut self) -> impl Future<Output = sqlx::Result<()>> + Send {
        async move { self.put_down()?.commit().await }
    }

    /// Rolls back and waits for the server's word.
    ///
    /// # Errors
    ///
    /// The connection broke; the server rolls back when it notices.
    pub fn rollback(mut self) -> impl Future<Output = sqlx::Result<()>> + Send {
        async move { self.put_down()?.rollback().await }
    }

    /// The connection, in the hand, where it stays.
    pub(super) fn pick_up(&mut self) -> Result<&mut Begun<DB>, TransactionError> {
        if self.hand.get().is_none() {
            self.hand = OnceLock::from(self.desk.take()?);
        }
        Ok(filled(self.hand.get_mut()))
    }

    /// The connection, for good.
    pub(super) fn put_down(&mut self) -> Result<Begun<DB>, TransactionError> {
        self.hand.take().map_or_else(|| self.desk.take(), Ok)
    }

    /// The desk of this transaction, for who joins it.
    #[cfg(feature = "web")]
    pub(super) fn desk(&self) -> Arc<Desk<DB>> {
        Arc::clone(&self.desk)
    }

    /// Leaves the connection to who joins, if anybody can.
    pub(super) fn lay_down(&mut self) {
        if Arc::strong_count(&self.desk) > 1
            && let Some(begun) = self.hand.take()
        {
            self.desk.lay(begun);
        }
    }

    /// The connection for a statement, after which it is left to who joins.
    pub(super) fn turn(&mut self) -> Result<Turn<'_, DB>, TransactionError> {
        self.pick_up()?.checkout_mut()?;
        Ok(Turn(self))
    }
}

/// A transaction that runs a statement.
pub(super) struct Turn<'t, DB: Backend>(&'t mut Transaction<DB>);

impl<DB: Backend> Turn<'_, DB> {
    pub(super) fn checkout_mut(&mut self) -> &mut Checkout<DB> {
        filled(self.0.hand.get_mut()).raw_mut()
    }
}

impl<DB: Backend> Drop for Turn<'_, DB> {
    fn drop(&mut self) {
        self.0.lay_down();
    }
}

/// What is in a hand that was filled just before.
fn filled<T>(hand: Option<T>) -> T {
    hand.unwrap_or_else(|| unreachable!("the connection was picked up"))
}

impl<DB: Backend> Drop for Transaction<DB> {
    fn drop(&mut self) {
        // From the desk, which others may know for longer.
        drop(self.put_down());
    }
}

impl<DB: Backend> Deref for Transaction<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        let take = || self.desk.take().unwrap_or_else(|error| panic!("{error}"));
        self.hand.get_or_init(take).raw()
    }
}

impl<DB: Backend> DerefMut for Transaction<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        match self.pick_up() {
            Ok(begun) => begun.raw_mut(),
            Err(error) => panic!("{error}"),
        }
    }
}
