//! The transactions around the running future, for code that only has the engine.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;

use crate::backend::Backend;
use crate::dialect::Characteristics;
use crate::engine::Engine;
use crate::error::TransactionError;
use crate::pool::Cell;

tokio::task_local! {
    /// The transactions around the running future, as [`Around`], the innermost last.
    static OPEN: Vec<Arc<dyn Any + Send + Sync>>;
}

/// The data of a transaction that code inside it needs to join it.
pub(in crate::engine) struct Around<DB: Backend> {
    pub(super) engine: Engine<DB>,
    /// Holds the transaction's connection between statements.
    pub(super) cell: Arc<Cell<DB>>,
    pub(super) characteristics: Characteristics,
    /// The number of transactions around it.
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

    /// The data of a transaction nested in this one, on another cell.
    pub(super) fn inner(&self, cell: Arc<Cell<DB>>) -> Self {
        Self {
            engine: self.engine.clone(),
            cell,
            characteristics: self.characteristics,
            depth: self.depth + 1,
        }
    }

    /// Checks whether a transaction with these characteristics can join this one.
    ///
    /// # Errors
    ///
    /// This transaction began without one of them.
    pub(super) fn check_join(&self, asked: Characteristics) -> Result<(), TransactionError> {
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
    /// Whether a [`scoped_transaction`](Engine::scoped_transaction) here would join the transaction of a closure or web request
    /// around the running future. A transaction from [`begin`](Engine::begin) does not count: only code that holds it can use
    /// it.
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

    /// Whether a transaction of this engine is open around the running future: of a closure or of a web request, whose
    /// transaction begins at its first use.
    pub(super) fn is_inside(&self) -> bool {
        #[cfg(feature = "web")]
        if self.has_begun_in_request() {
            return true;
        }
        self.open_transaction().is_some()
    }

    /// Logs that an operation on `&db` does not see what the transaction around it has written.
    pub(in crate::engine) fn log_beside(&self, what: &str) {
        if tracing::enabled!(tracing::Level::DEBUG) && self.is_inside() {
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
