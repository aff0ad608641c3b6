//! A connection in use, as an executor: what a checkout and a transaction have in common.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::checked_out::CheckedOut;
use super::in_transaction::Hooks;
use crate::backend::Backend;
use crate::error::TransactionError;

/// A session on the server that a task uses: what [`Checkout`](crate::Checkout) and [`Transaction`](crate::Transaction)
/// dereference to.
///
/// `&mut Session` is an executor, so that sqlx's idioms `&mut *checkout` and `&mut *transaction` cost what `&mut checkout` and
/// `&mut transaction` cost, and the pool sees how their statements end. It dereferences to the driver's connection, for
/// functions that take a `&mut PgConnection`: what they do there the pool cannot see, so the connection is checked with the
/// server before another task gets it, and conflicts with other transactions are not noticed.
///
/// # Panics
///
/// Dereferencing that of a transaction to the driver's connection panics while a
/// [`scoped_transaction`](crate::Engine::scoped_transaction) in a future beside this one uses the connection. A statement is
/// an error then.
pub struct Session<DB: Backend> {
    /// The connection, unless it is in the cell.
    connection: OnceLock<CheckedOut<DB>>,
    /// Of a transaction: where nested code finds the connection.
    cell: Option<Arc<Cell<DB>>>,
}

/// Holds the connection of a transaction between statements, so that nested code can borrow it. `take` on an empty cell fails
/// instead of waiting, because waiting could deadlock.
pub(crate) struct Cell<DB: Backend> {
    engine: String,
    /// Held for assignments alone.
    connection: Mutex<Option<CheckedOut<DB>>>,
    /// What is to be done after the commit. Held for assignments alone.
    hooks: Mutex<Hooks>,
}

/// The handles of a cell that belong to the transaction itself: its own and its session's.
const OWN_HANDLES: usize = 2;

impl<DB: Backend> Cell<DB> {
    /// The connection.
    ///
    /// # Errors
    ///
    /// Another part of the task uses it.
    pub(crate) fn take(&self) -> Result<CheckedOut<DB>, TransactionError> {
        let connection = lock(&self.connection).take();
        connection.ok_or_else(|| TransactionError::InUse {
            engine: self.engine.clone(),
        })
    }

    pub(crate) fn put_back(&self, connection: CheckedOut<DB>) {
        *lock(&self.connection) = Some(connection);
    }

    /// Adds something that is to be done after the commit.
    pub(crate) fn add_hooks(&self, hooks: Hooks) {
        lock(&self.hooks).extend(hooks);
    }

    /// Takes what is to be done after the commit.
    pub(crate) fn take_hooks(&self) -> Hooks {
        std::mem::take(&mut *lock(&self.hooks))
    }
}

/// Nothing panics while one of these locks is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<DB: Backend> Session<DB> {
    pub(crate) fn of_checkout(connection: CheckedOut<DB>) -> Self {
        Self {
            connection: OnceLock::from(connection),
            cell: None,
        }
    }

    /// The session of a transaction, with the cell where nested code finds its connection. Both handles belong to the
    /// transaction.
    pub(crate) fn of_transaction(connection: CheckedOut<DB>) -> (Self, Arc<Cell<DB>>) {
        let cell = Arc::new(Cell {
            engine: connection.engine().to_owned(),
            connection: Mutex::new(None),
            hooks: Mutex::default(),
        });
        let session = Self {
            connection: OnceLock::from(connection),
            cell: Some(Arc::clone(&cell)),
        };
        (session, cell)
    }

    /// The connection, which stays here.
    ///
    /// # Errors
    ///
    /// Nested code in another part of the task uses it.
    pub(crate) fn hold(&mut self) -> Result<&mut CheckedOut<DB>, TransactionError> {
        if let (None, Some(cell)) = (self.connection.get(), &self.cell) {
            self.connection = OnceLock::from(cell.take()?);
        }
        Ok(present(self.connection.get_mut()))
    }

    /// The connection, for good.
    ///
    /// # Errors
    ///
    /// As [`hold`](Self::hold).
    pub(crate) fn take(&mut self) -> Result<CheckedOut<DB>, TransactionError> {
        match (self.connection.take(), &self.cell) {
            (None, Some(cell)) => cell.take(),
            (connection, _) => Ok(present(connection)),
        }
    }

    /// Leaves the connection to nested code, if there can be any.
    pub(crate) fn share(&mut self) {
        if let Some(cell) = &self.cell
            && Arc::strong_count(cell) > OWN_HANDLES
            && let Some(connection) = self.connection.take()
        {
            cell.put_back(connection);
        }
    }

    /// The connection for one statement, after which it is left to nested code.
    ///
    /// # Errors
    ///
    /// As [`hold`](Self::hold); or the transaction is over.
    pub(crate) fn for_statement(&mut self) -> Result<ForStatement<'_, DB>, TransactionError> {
        self.hold()?.check_open()?;
        Ok(ForStatement(self))
    }
}

/// The connection of a session, while it runs a statement.
pub(crate) struct ForStatement<'s, DB: Backend>(&'s mut Session<DB>);

impl<DB: Backend> ForStatement<'_, DB> {
    pub(crate) fn connection(&mut self) -> &mut CheckedOut<DB> {
        present(self.0.connection.get_mut())
    }
}

impl<DB: Backend> Drop for ForStatement<'_, DB> {
    fn drop(&mut self) {
        self.0.share();
    }
}

fn present<T>(connection: Option<T>) -> T {
    // Without a cell it never leaves; with one, it was taken out of it just before.
    connection.unwrap_or_else(|| unreachable!("a session has a connection or a cell"))
}

impl<DB: Backend> Deref for Session<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        self.connection.get_or_init(|| match &self.cell {
            Some(cell) => cell.take().unwrap_or_else(|error| panic!("{error}")),
            None => present(None),
        })
    }
}

impl<DB: Backend> DerefMut for Session<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        match self.hold() {
            Ok(connection) => connection,
            Err(error) => panic!("{error}"),
        }
    }
}

impl<DB: Backend> AsMut<DB::Connection> for Session<DB> {
    fn as_mut(&mut self) -> &mut DB::Connection {
        self
    }
}

impl<DB: Backend> fmt::Debug for Session<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let session = self
            .connection
            .get()
            .map(|connection| &connection.record().session);
        f.debug_struct("Session")
            .field("database", &DB::KIND)
            .field("session", &session)
            .finish_non_exhaustive()
    }
}
