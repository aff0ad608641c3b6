//! A connection in use, as an executor: the common part of checkouts and transactions.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, OnceLock};

use super::checked_out::CheckedOut;
use super::in_transaction::Hooks;
use crate::backend::Backend;
use crate::error::TransactionError;
use crate::lock::lock;

/// A session on the server that a task uses. [`Checkout`](crate::Checkout) and [`Transaction`](crate::Transaction)
/// dereference to it.
///
/// `&mut Session` is an executor, so that sqlx's idioms `&mut *checkout` and `&mut *transaction` cost what `&mut checkout`
/// and `&mut transaction` cost, and the pool sees how their statements end. A session dereferences to the driver's
/// connection, for functions that take a `&mut PgConnection`. The pool cannot see their statements. It checks the connection
/// with the server before another task gets it, and does not notice conflicts with other transactions. Behind a pooler, run a
/// statement on the session first if one was dropped half-way on it: that rolls back what the dropped one has left open.
///
/// # Panics
///
/// Dereferencing a transaction's session to the driver's connection panics while a
/// [`scoped_transaction`](crate::Engine::scoped_transaction) in a concurrent future uses the connection. It also panics when the
/// transaction is over although the code goes on: after a nested one was cancelled while it began, after a deadlock on MySQL,
/// or after the server has ended it. The server would commit each statement on that connection by itself. A statement on the
/// session returns an error instead.
pub struct Session<DB: Backend> {
    /// The connection, unless it is in the cell.
    connection: OnceLock<CheckedOut<DB>>,
    /// For a transaction: the cell where nested code finds the connection.
    cell: Option<Arc<Cell<DB>>>,
}

/// Holds the connection of a transaction between statements, so that nested code can borrow it. `take` on an empty cell fails
/// instead of waiting, because waiting could deadlock.
pub(crate) struct Cell<DB: Backend> {
    engine: String,
    /// Locked for assignments alone.
    connection: Mutex<Option<CheckedOut<DB>>>,
    /// Work to do after the commit. Locked for assignments alone.
    hooks: Mutex<Hooks>,
}

/// The handles of a cell that belong to the transaction itself: its own and its session's.
const OWN_HANDLES: usize = 2;

impl<DB: Backend> Cell<DB> {
    /// Takes the connection.
    ///
    /// # Errors
    ///
    /// Another part of the task uses the connection.
    pub(crate) fn take(&self) -> Result<CheckedOut<DB>, TransactionError> {
        let connection = lock(&self.connection).take();
        connection.ok_or_else(|| TransactionError::InUse {
            engine: self.engine.clone(),
        })
    }

    pub(crate) fn put_back(&self, connection: CheckedOut<DB>) {
        *lock(&self.connection) = Some(connection);
    }

    /// Adds work to do after the commit.
    pub(crate) fn add_hooks(&self, hooks: Hooks) {
        lock(&self.hooks).extend(hooks);
    }

    /// Takes the work to do after the commit.
    pub(crate) fn take_hooks(&self) -> Hooks {
        std::mem::take(&mut *lock(&self.hooks))
    }
}

impl<DB: Backend> Session<DB> {
    pub(crate) fn of_checkout(connection: CheckedOut<DB>) -> Self {
        Self {
            connection: OnceLock::from(connection),
            cell: None,
        }
    }

    /// The session of a transaction, with the cell where nested code finds its connection. Both handles of the cell belong
    /// to the transaction.
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

    /// The connection, which stays in the session.
    ///
    /// # Errors
    ///
    /// Nested code in another part of the task uses the connection.
    pub(crate) fn connection_mut(&mut self) -> Result<&mut CheckedOut<DB>, TransactionError> {
        if let (None, Some(cell)) = (self.connection.get(), &self.cell) {
            self.connection = OnceLock::from(cell.take()?);
        }
        Ok(present(self.connection.get_mut()))
    }

    /// Takes the connection out of the session.
    ///
    /// # Errors
    ///
    /// As [`connection_mut`](Self::connection_mut).
    pub(crate) fn take(&mut self) -> Result<CheckedOut<DB>, TransactionError> {
        match (self.connection.take(), &self.cell) {
            (None, Some(cell)) => cell.take(),
            (connection, _) => Ok(present(connection)),
        }
    }

    /// Puts the connection into the cell if nested code may exist.
    pub(crate) fn share(&mut self) {
        if let Some(cell) = &self.cell
            && Arc::strong_count(cell) > OWN_HANDLES
            && let Some(connection) = self.connection.take()
        {
            cell.put_back(connection);
        }
    }

    /// The connection for one statement. Afterwards nested code can borrow it.
    ///
    /// # Errors
    ///
    /// As [`connection_mut`](Self::connection_mut); or the transaction accepts no more statements.
    pub(crate) fn for_statement(&mut self) -> Result<ForStatement<'_, DB>, TransactionError> {
        self.connection_mut()?.check_open()?;
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
    // Without a cell the connection never leaves the session; with a cell it was taken out of that just before.
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
        let connection = self.connection_mut().and_then(|connection| {
            // The pool cannot refuse the statements one by one.
            connection.check_inside()?;
            Ok(connection)
        });
        match connection {
            Ok(connection) => connection,
            Err(error) => panic!("{error}"),
        }
    }
}

impl<DB: Backend> AsRef<DB::Connection> for Session<DB> {
    fn as_ref(&self) -> &DB::Connection {
        self
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
