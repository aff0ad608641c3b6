//! Nested transactions, which are savepoints.

use std::future::Future;

use super::around::Around;
use super::{Transaction, Work};
use crate::backend::Backend;
use crate::dialect::{Characteristics, Local};
use crate::error::TransactionError;

/// The options of a nested transaction.
#[derive(Default)]
pub(super) struct NestedOptions {
    pub(super) characteristics: Characteristics,
    pub(super) local: Vec<(String, String)>,
}

impl<DB: Backend> Transaction<DB> {
    /// Runs a closure in a nested transaction, which is a savepoint. It is kept when the closure returns `Ok`, and rolled back
    /// when the closure returns `Err`, panics or is dropped half-way. The transaction around it goes on, and alone decides what
    /// is committed.
    ///
    /// Code inside that only has the engine can join it through
    /// [`scoped_transaction`](crate::Engine::scoped_transaction).
    ///
    /// ```no_run
    /// # async fn add(db: poolhouse::SqliteEngine) -> sqlx::Result<()> {
    /// db.transaction(async |tx| {
    ///     let added: sqlx::Result<()> = tx
    ///         .transaction(async |nested| {
    ///             sqlx::query("INSERT INTO band (id) VALUES (1)").execute(&mut *nested).await?;
    ///             Ok(())
    ///         })
    ///         .await;
    ///     if added.is_err() {
    ///         sqlx::query("UPDATE band SET seen = 1 WHERE id = 1").execute(&mut *tx).await?;
    ///     }
    ///     Ok(())
    /// })
    /// .await
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The closure's own, and the server's errors for the savepoint. A conflict with another transaction is not retried here:
    /// [`Engine::transaction`](crate::Engine::transaction) retries the whole transaction.
    ///
    /// # Cancellation
    ///
    /// The future may be dropped at any await point. If the savepoint is still being created, the whole transaction ends: later
    /// queries on it are errors.
    pub fn transaction<T, E, F>(&mut self, work: F) -> impl Future<Output = Result<T, E>> + Send
    where
        T: Send,
        E: From<sqlx::Error> + Send,
        F: Send + for<'t> Work<&'t mut Transaction<DB>, Result<T, E>, Fut: Send>,
    {
        self.nested(NestedOptions::default(), work)
    }

    /// [`transaction`](Self::transaction) with options.
    pub(super) fn nested<T, E, F>(
        &mut self,
        asked: NestedOptions,
        work: F,
    ) -> impl Future<Output = Result<T, E>> + Send
    where
        T: Send,
        E: From<sqlx::Error> + Send,
        F: Send + for<'t> Work<&'t mut Transaction<DB>, Result<T, E>, Fut: Send>,
    {
        async move {
            if let Ok(connection) = self.session.take() {
                self.this.cell.put_back(connection);
            }
            nested(self.this.clone(), asked, work).await
        }
    }
}

/// Runs a closure in a savepoint of the transaction around it, which always gets its connection back.
pub(super) async fn nested<DB, T, E, F>(
    around: Around<DB>,
    asked: NestedOptions,
    work: F,
) -> Result<T, E>
where
    DB: Backend,
    E: From<sqlx::Error>,
    F: for<'t> Work<&'t mut Transaction<DB>, Result<T, E>>,
{
    around
        .check_join(asked.characteristics)
        .map_err(sqlx::Error::from)?;
    let connection = around.cell.take().map_err(sqlx::Error::from)?;
    let mut level = Savepoint {
        inner: Transaction::on(connection, |cell| around.inner(cell)),
        around,
        local: asked.local,
        open: false,
    };
    level.begin().await?;
    let outcome = level.inner.enter(work).await;
    match (level.end(outcome.is_ok()).await, &outcome) {
        (Err(error), Ok(_)) => return Err(error.into()),
        // The closure's error is the more informative one.
        (Err(error), Err(_)) => {
            tracing::debug!("a rollback to a savepoint was not confirmed: {error}");
        }
        (Ok(()), _) => {}
    }
    outcome
}

/// A savepoint under way, which is rolled back when it is dropped before its end.
struct Savepoint<DB: Backend> {
    around: Around<DB>,
    inner: Transaction<DB>,
    /// Server settings for this level only.
    local: Vec<(String, String)>,
    /// Whether there is a savepoint to roll back to.
    open: bool,
}

impl<DB: Backend> Savepoint<DB> {
    async fn begin(&mut self) -> sqlx::Result<()> {
        let set = self.local_sql(|local, settings, depth| {
            format!(
                "{}; {}",
                (local.store)(settings, depth),
                (local.set)(settings)
            )
        })?;
        let connection = self.inner.connection()?;
        connection.savepoint().await?;
        self.open = true;
        if let Some(set) = set {
            let set = connection.set_in_transaction(set).await;
            set.map_err(|error| self.around.engine.refused_settings(&self.local, error))?;
        }
        Ok(())
    }

    async fn end(&mut self, well: bool) -> sqlx::Result<()> {
        let restore = self.local_sql(|local, settings, depth| (local.restore)(settings, depth))?;
        let connection = self.inner.connection()?;
        if well {
            if let Some(restore) = restore {
                connection.set_in_transaction(restore).await?;
            }
            connection.release().await?;
        } else {
            connection.undo().await?;
        }
        self.open = false;
        if well {
            let hooks = self.inner.cell().take_hooks();
            self.around.cell.add_hooks(hooks);
        }
        Ok(())
    }

    /// Statements for the settings of this level, if there are any.
    fn local_sql(
        &self,
        sql: impl Fn(&Local, &[(String, String)], usize) -> String,
    ) -> Result<Option<String>, TransactionError> {
        if self.local.is_empty() {
            return Ok(None);
        }
        let local = self.around.engine.local_settings(&self.local)?;
        Ok(Some(sql(local, &self.local, self.inner.depth())))
    }
}

impl<DB: Backend> Drop for Savepoint<DB> {
    fn drop(&mut self) {
        // An error means that a nested level was forgotten together with the connection.
        if let Ok(mut connection) = self.inner.take_connection() {
            if self.open {
                // The driver sends it before the next statement.
                connection.start_undo();
            }
            self.around.cell.put_back(connection);
        }
    }
}
