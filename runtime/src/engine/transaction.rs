//! A transaction that owns its connection.

use std::ops::{Deref, DerefMut};

use sqlx_core::transaction::TransactionManager;
use tokio::sync::oneshot;

use crate::backend::Backend;
use crate::pool::Checkout;

/// A transaction on a connection of its own, from [`Engine::begin`](crate::Engine::begin).
///
/// It is an executor (`query.execute(&mut transaction)`) and dereferences to the driver's connection (`&mut *transaction`).
///
/// # Drop
///
/// Dropping it without [`commit`](Self::commit) rolls it back, in a task of the pool; nobody gets the connection before
/// the server has confirmed that.
#[derive(Debug)]
#[must_use = "a transaction that is dropped is rolled back"]
pub struct Transaction<DB: Backend> {
    checkout: Checkout<DB>,
}

impl<DB: Backend> Transaction<DB> {
    pub(crate) async fn begin(mut checkout: Checkout<DB>) -> sqlx::Result<Self> {
        checkout.begin().await?;
        Ok(Self { checkout })
    }

    /// Begins in a task, so that a caller who goes away half-way leaves a transaction that has begun and is rolled back.
    ///
    /// In a transaction that the connection is held in, the driver takes a cancelled `SAVEPOINT` for the whole
    /// transaction and rolls that back.
    pub(crate) async fn begin_to_the_end(checkout: Checkout<DB>) -> sqlx::Result<Self> {
        let (began, outcome) = oneshot::channel();
        tokio::spawn(async move {
            // A receiver that is gone hands the transaction back to us, and dropping it rolls it back.
            let _ = began.send(Self::begin(checkout).await);
        });
        outcome.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    /// Begins a nested transaction: a savepoint, which rolls back on its own.
    ///
    /// # Errors
    ///
    /// What the server says to `SAVEPOINT`.
    pub async fn begin_nested(&mut self) -> sqlx::Result<sqlx::Transaction<'_, DB>> {
        sqlx::Connection::begin(&mut *self.checkout).await
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
    pub async fn commit(mut self) -> sqlx::Result<()> {
        self.checkout.forget_statements().await?;
        self.checkout
            .run(|connection, _| Box::pin(DB::TransactionManager::commit(connection)))
            .await?;
        self.settled();
        Ok(())
    }

    /// Rolls back and waits for the server's word.
    ///
    /// # Errors
    ///
    /// The connection broke; the server rolls back when it notices.
    pub async fn rollback(mut self) -> sqlx::Result<()> {
        self.checkout.forget_statements().await?;
        self.checkout
            .run(|connection, _| Box::pin(DB::TransactionManager::rollback(connection)))
            .await?;
        self.settled();
        Ok(())
    }

    /// The server has answered, so nothing is under way; unless a nested transaction was forgotten.
    fn settled(&mut self) {
        if self.checkout.is_idle() {
            self.checkout.settled();
        }
    }

    pub(super) fn checkout_mut(&mut self) -> &mut Checkout<DB> {
        &mut self.checkout
    }
}

impl<DB: Backend> Deref for Transaction<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.checkout
    }
}

impl<DB: Backend> DerefMut for Transaction<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.checkout
    }
}
