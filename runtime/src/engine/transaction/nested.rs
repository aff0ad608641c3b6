//! Nested transactions, which are savepoints, and how code that only has the engine finds the one around it.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;

use super::{Transaction, Work};
use crate::backend::Backend;
use crate::dialect::{Characteristics, Local};
use crate::engine::Engine;
use crate::error::TransactionError;
use crate::pool::Cell;

tokio::task_local! {
    /// The transactions around the running future, as [`Around`], the innermost last.
    static OPEN: Vec<Arc<dyn Any + Send + Sync>>;
}

/// A transaction, as the code inside of it sees it.
pub(in crate::engine) struct Around<DB: Backend> {
    pub(super) engine: Engine<DB>,
    /// Where its connection is between statements.
    pub(super) cell: Arc<Cell<DB>>,
    pub(super) characteristics: Characteristics,
    /// How many transactions are around it.
    pub(super) depth: usize,
}

impl<DB: Backend> Around<DB> {
    pub(super) fn outermost(
        engine: Engine<DB>,
        cell: Arc<Cell<DB>>,
        characteristics: Characteristics,
    ) -> Self {
        Self {
            engine,
            cell,
            characteristics,
            depth: 0,
        }
    }

    /// One inside of this one, on another cell.
    fn inner(&self, cell: Arc<Cell<DB>>) -> Self {
        Self {
            engine: self.engine.clone(),
            cell,
            characteristics: self.characteristics,
            depth: self.depth + 1,
        }
    }

    /// Looks whether a transaction that is asked for like this can be a part of this one.
    ///
    /// # Errors
    ///
    /// It would not be what was asked for.
    fn check_join(&self, asked: Characteristics) -> Result<(), TransactionError> {
        let joined = |option: String| TransactionError::CannotJoin {
            engine: self.engine.name().to_owned(),
            option,
        };
        let least = self.engine.connector().dialect().least_isolation;
        let begun = self.characteristics;
        let level = begun.isolation.map_or(least, |level| level.max(least));
        match asked {
            Characteristics {
                isolation: Some(asked),
                ..
            } if asked > level => Err(joined(format!("isolation level {asked}"))),
            Characteristics {
                read_only: true, ..
            } if !begun.read_only => Err(joined("READ ONLY".to_owned())),
            Characteristics {
                deferrable: true, ..
            } if !begun.deferrable => Err(joined("DEFERRABLE".to_owned())),
            _ => Ok(()),
        }
    }
}

impl<DB: Backend> Clone for Around<DB> {
    fn clone(&self) -> Self {
        Self {
            engine: self.engine.clone(),
            cell: Arc::clone(&self.cell),
            characteristics: self.characteristics,
            depth: self.depth,
        }
    }
}

impl<DB: Backend> Engine<DB> {
    /// Whether a [`scoped_transaction`](Engine::scoped_transaction) here would join a transaction: that of a closure or of a
    /// web request that the running future is inside of. One from [`begin`](Engine::begin) is a value, of which nobody knows
    /// who does not hold it.
    pub fn in_transaction(&self) -> bool {
        #[cfg(feature = "web")]
        if self.is_in_request() {
            return true;
        }
        self.open_transaction().is_some()
    }

    /// The innermost transaction of this engine that the running future is inside of.
    pub(super) fn open_transaction(&self) -> Option<Around<DB>> {
        let of_this_engine = |open: &Vec<Arc<dyn Any + Send + Sync>>| {
            let mut open = open.iter().rev();
            open.find_map(|around| {
                let around = around.downcast_ref::<Around<DB>>()?;
                Arc::ptr_eq(&around.engine.0, &self.0).then(|| around.clone())
            })
        };
        // Outside of every transaction there is no list.
        OPEN.try_with(of_this_engine).ok().flatten()
    }

    /// Logs that something on `&db` does not see what the transaction around it has written.
    pub(in crate::engine) fn log_beside(&self, what: &str) {
        if tracing::enabled!(tracing::Level::DEBUG) && self.open_transaction().is_some() {
            tracing::debug!(
                engine = %self.name(),
                "{what} on another connection than the transaction that this task is inside of; scoped_transaction joins it"
            );
        }
    }
}

/// Runs a future inside of this transaction.
pub(super) fn inside<DB: Backend, F: Future>(
    around: Around<DB>,
    work: F,
) -> impl Future<Output = F::Output> {
    let mut open = OPEN.try_with(Vec::clone).unwrap_or_default();
    open.push(Arc::new(around));
    OPEN.scope(open, work)
}

/// Runs a future outside of every transaction.
#[cfg(feature = "web")]
pub(in crate::engine) fn outside<F: Future>(work: F) -> impl Future<Output = F::Output> {
    OPEN.scope(Vec::new(), work)
}

type NestedSql = fn(&[(String, String)], usize) -> String;

/// What a nested transaction can be asked for.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) characteristics: Characteristics,
    pub(super) local: Vec<(String, String)>,
}

/// Runs a closure in a savepoint on the connection of the transaction around it, which gets it back, however that ends.
pub(super) async fn nested<DB, T, E, F>(around: Around<DB>, asked: Asked, work: F) -> Result<T, E>
where
    DB: Backend,
    E: From<sqlx::Error>,
    F: for<'t> Work<&'t mut Transaction<DB>, Result<T, E>>,
{
    around
        .check_join(asked.characteristics)
        .map_err(sqlx::Error::from)?;
    let connection = around.cell.take().map_err(sqlx::Error::from)?;
    let mut level = Level {
        inner: Transaction::on(connection, |cell| around.inner(cell)),
        around,
        local: asked.local,
        open: false,
    };
    level.begin().await?;
    let outcome = level.inner.enter(work).await;
    match (level.end(outcome.is_ok()).await, &outcome) {
        (Err(error), Ok(_)) => return Err(error.into()),
        // The closure's error says more.
        (Err(error), Err(_)) => {
            tracing::debug!("a rollback to a savepoint was not confirmed: {error}");
        }
        (Ok(()), _) => {}
    }
    outcome
}

/// A savepoint under way, which is rolled back when it is dropped before its end.
struct Level<DB: Backend> {
    around: Around<DB>,
    inner: Transaction<DB>,
    /// Settings of the server's for this level alone.
    local: Vec<(String, String)>,
    /// There is a savepoint to roll back to.
    open: bool,
}

impl<DB: Backend> Level<DB> {
    async fn begin(&mut self) -> sqlx::Result<()> {
        let set = self.local_sql(|local| local.set_nested)?;
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
        let restore = self.local_sql(|local| local.restore)?;
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
        which: impl Fn(&Local) -> NestedSql,
    ) -> Result<Option<String>, TransactionError> {
        if self.local.is_empty() {
            return Ok(None);
        }
        let local = self.around.engine.local_settings(&self.local)?;
        Ok(Some(which(local)(&self.local, self.inner.depth())))
    }
}

impl<DB: Backend> Drop for Level<DB> {
    fn drop(&mut self) {
        // Without it, a level further down was forgotten together with the connection.
        if let Ok(mut connection) = self.inner.take_connection() {
            if self.open {
                // The driver sends it before the next statement.
                connection.start_undo();
            }
            self.around.cell.put_back(connection);
        }
    }
}
