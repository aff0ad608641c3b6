//! The transactions that a task is inside of, for code that only has the engine.

use std::any::Any;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use futures_core::future::BoxFuture;

use super::begun::Begun;
use super::{Engine, Transaction};
use crate::backend::Backend;
use crate::error::TransactionError;

tokio::task_local! {
    /// The desks of the transactions around the running future, the innermost last.
    static OPEN: Vec<Arc<dyn Any + Send + Sync>>;
}

/// Where the connection of a transaction lies while its [`Transaction`] runs no statement, so that code further down may
/// take it. Whoever finds the desk empty comes too early: it never waits, because what it waited for might be waiting
/// for it.
#[derive(Debug)]
pub(super) struct Desk<DB: Backend> {
    engine: Engine<DB>,
    connection: Mutex<Option<Begun<DB>>>,
}

impl<DB: Backend> Desk<DB> {
    pub(super) fn new(engine: Engine<DB>) -> Arc<Self> {
        Arc::new(Self {
            engine,
            connection: Mutex::new(None),
        })
    }

    pub(super) fn take(&self) -> Result<Begun<DB>, TransactionError> {
        let lain = self.connection().take();
        lain.ok_or_else(|| TransactionError::InUse {
            engine: self.engine.name().to_owned(),
        })
    }

    pub(super) fn lay(&self, connection: Begun<DB>) {
        *self.connection() = Some(connection);
    }

    fn connection(&self) -> std::sync::MutexGuard<'_, Option<Begun<DB>>> {
        // Nothing panics while the lock is held.
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<DB: Backend> Engine<DB> {
    /// The innermost transaction of this engine that the running future is inside of.
    pub(super) fn open_transaction(&self) -> Option<Arc<Desk<DB>>> {
        let of_this_engine = |open: &Vec<Arc<dyn Any + Send + Sync>>| {
            let mut desks = open.iter().rev();
            desks.find_map(|desk| {
                let desk = Arc::clone(desk).downcast::<Desk<DB>>().ok()?;
                Arc::ptr_eq(&desk.engine.0, &self.0).then_some(desk)
            })
        };
        // Outside of every transaction there is no list.
        OPEN.try_with(of_this_engine).ok().flatten()
    }

    /// Says that something on `&db` does not see what the transaction around it has written.
    pub(super) fn say_beside(&self, what: &str) {
        if tracing::enabled!(tracing::Level::DEBUG) && self.open_transaction().is_some() {
            tracing::debug!(
                engine = %self.name(),
                "{what} on another connection than the transaction that this task is inside of; scoped_transaction joins it"
            );
        }
    }
}

/// Runs a future inside of the transaction of this desk.
pub(super) fn inside<DB: Backend, F: Future>(
    desk: Arc<Desk<DB>>,
    work: F,
) -> impl Future<Output = F::Output> {
    let mut open = OPEN.try_with(Vec::clone).unwrap_or_default();
    open.push(desk);
    OPEN.scope(open, work)
}

/// Runs a future outside of every transaction.
#[cfg(feature = "web")]
pub(super) fn outside<F: Future>(work: F) -> impl Future<Output = F::Output> {
    OPEN.scope(Vec::new(), work)
}

/// Runs a closure in a savepoint on the connection of this desk, which comes back there, however that ends.
pub(super) async fn nested<DB, T, E, F>(home: Arc<Desk<DB>>, work: F) -> Result<T, E>
where
    DB: Backend,
    E: From<sqlx::Error>,
    F: for<'t> FnOnce(&'t mut Transaction<DB>) -> BoxFuture<'t, Result<T, E>>,
{
    let begun = home.take().map_err(sqlx::Error::from)?;
    let inner = Transaction::of(home.engine.clone(), begun);
    let mut level = Level {
        home,
        inner,
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
    home: Arc<Desk<DB>>,
    inner: Transaction<DB>,
    /// There is a savepoint to roll back to.
    open: bool,
}

impl<DB: Backend> Level<DB> {
    async fn begin(&mut self) -> sqlx::Result<()> {
        self.inner.pick_up()?.savepoint().await?;
        self.open = true;
        Ok(())
    }

    async fn end(&mut self, well: bool) -> sqlx::Result<()> {
        let begun = self.inner.pick_up()?;
        if well {
            begun.release().await?;
        } else {
            begun.undo().await?;
        }
        self.open = false;
        Ok(())
    }
}

impl<DB: Backend> Drop for Level<DB> {
    fn drop(&mut self) {
        // Without it, a level further down was forgotten together with the connection.
        if let Ok(mut begun) = self.inner.put_down() {
            if self.open {
                // The driver sends it before the next statement.
                begun.start_undo();
            }
            self.home.lay(begun);
        }
    }
}
