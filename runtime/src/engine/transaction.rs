//! A transaction that owns its connection.

use std::ops::{Deref, DerefMut};

use futures_core::future::BoxFuture;
use sqlx_core::transaction::TransactionManager;
use tokio::sync::oneshot;

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
#[derive(Debug)]
#[must_use = "a transaction that is dropped is rolled back"]
pub struct Transaction<DB: Backend> {
    checkout: Checkout<DB>,
    /// A nested transaction was cancelled while it began.
    over: bool,
}

impl<DB: Backend> Transaction<DB> {
    /// Begins on this connection, with the database's own statement or with this one. On a connection that is held in a
    /// transaction it is a savepoint, whatever the statement.
    pub(crate) async fn begin(
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

    /// Runs a closure in a nested transaction, which is a savepoint: kept when it returns `Ok`, and rolled back when it
    /// returns `Err`, panics or is dropped half-way. The transaction around it goes on, and alone decides what is
    /// committed.
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
        self.over = true;
        self.checkout
            .run(|connection, _| Box::pin(DB::TransactionManager::begin(connection, None)))
            .await?;
        self.over = false;
        let mut nested = Nested {
            outer: self,
            ended: false,
        };
        let outcome = work(nested.outer).await;
        let checkout = &mut nested.outer.checkout;
        if outcome.is_ok() {
            checkout
                .run(|connection, _| Box::pin(DB::TransactionManager::commit(connection)))
                .await?;
        } else {
            let rolled_back = checkout
                .run(|connection, _| Box::pin(DB::TransactionManager::rollback(connection)))
                .await;
            if let Err(error) = rolled_back {
                // The closure's error says more; the guard rolls back what can be.
                tracing::debug!("a rollback to a savepoint was not confirmed: {error}");
                return outcome;
            }
        }
        nested.ended = true;
        outcome
    }

    /// What the database said about a conflict with another transaction, if a statement met one.
    pub(super) fn conflict(&self) -> Option<String> {
        self.checkout.conflict()
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
        self.still_there()?;
        if self.checkout.may_have_failed() {
            // Postgres answers the COMMIT of a failed transaction with a rollback that the driver takes for success, so
            // the failure is asked for: <https://www.postgresql.org/docs/current/sql-commit.html>.
            self.checkout
                .run(|connection, _| DB::execute(connection, sqlx::raw_sql("SELECT 1")))
                .await?;
        }
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

    /// Whether the transaction is there for a query.
    pub(super) fn still_there(&self) -> Result<(), TransactionError> {
        if self.over {
            return Err(TransactionError::CancelledInside);
        }
        Ok(())
    }

    pub(super) fn checkout_mut(&mut self) -> &mut Checkout<DB> {
        &mut self.checkout
    }
}

/// A nested transaction under way, which is rolled back when it is dropped before its end.
struct Nested<'t, DB: Backend> {
    outer: &'t mut Transaction<DB>,
    ended: bool,
}

impl<DB: Backend> Drop for Nested<'_, DB> {
    fn drop(&mut self) {
        if !self.ended {
            // The driver sends it before the next statement. Deeper ones have seen to themselves.
            DB::TransactionManager::start_rollback(&mut self.outer.checkout);
        }
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
