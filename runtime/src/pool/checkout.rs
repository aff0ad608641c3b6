//! A connection that a user has checked out of the pool.

use std::future::Future;
use std::ops::{Deref, DerefMut};

use super::checked_out::CheckedOut;
use super::session::Session;
use crate::backend::Backend;

/// A connection that a task has checked out of the pool.
///
/// A checkout is an executor (`query.execute(&mut checkout)`, `query.execute(&mut *checkout)`) and replaces sqlx's
/// `PoolConnection`. It dereferences to a [`Session`], which dereferences to the driver's connection for functions that take
/// a `&mut PgConnection`.
///
/// # Drop
///
/// Dropping a checkout never waits and never loses its slot of the pool, inside a runtime or outside of any.
///
/// - Used as an executor, with every query finished and no transaction open: the connection returns at once.
/// - Otherwise its state is unknown: a dropped query or half-read stream, an open or half-begun transaction, or use of the
///   driver's connection, which the pool cannot observe. A task of the pool then drains it, rolls it back and checks it with
///   the server within two seconds, or closes it. No other task gets it before that.
///
/// A checkout that is leaked (`std::mem::forget`) keeps its slot until the pool is closed.
#[derive(Debug)]
#[must_use = "a checkout that is dropped at once goes back to the pool"]
pub struct Checkout<DB: Backend>(Session<DB>);

impl<DB: Backend> Checkout<DB> {
    pub(crate) fn new(connection: CheckedOut<DB>) -> Self {
        Self(Session::of_checkout(connection))
    }

    pub(crate) fn session(&mut self) -> &mut Session<DB> {
        &mut self.0
    }

    /// Closes the connection instead of returning it, and waits for the close, within a time limit of the pool. Its slot is
    /// free afterwards.
    ///
    /// # Errors
    ///
    /// None at present; the return type is that of sqlx's `PoolConnection::close`.
    ///
    /// # Cancellation
    ///
    /// A future that is dropped after its first poll still closes the connection, in a task of the pool. A future that is
    /// never polled returns the connection to the pool.
    pub fn close(mut self) -> impl Future<Output = sqlx::Result<()>> + Send {
        async move {
            self.0.take()?.close().await;
            Ok(())
        }
    }

    /// Removes the driver's connection from the pool, as sqlx's `PoolConnection::detach`. Its slot is free at once, so the
    /// pool may open another connection. Only the caller closes the removed one.
    ///
    /// Behind a pooler, a statement with parameters that was dropped half-way on this checkout has left a transaction open, which
    /// the next statement of the checkout would have rolled back. Roll it back on the removed connection.
    pub fn detach(mut self) -> DB::Connection {
        match self.0.take() {
            Ok(connection) => connection.detach(),
            Err(error) => unreachable!("a checkout shares its connection with nobody: {error}"),
        }
    }
}

impl<DB: Backend> Deref for Checkout<DB> {
    type Target = Session<DB>;

    fn deref(&self) -> &Session<DB> {
        &self.0
    }
}

impl<DB: Backend> DerefMut for Checkout<DB> {
    fn deref_mut(&mut self) -> &mut Session<DB> {
        &mut self.0
    }
}

/// For guards of the driver, such as that of a `PgAdvisoryLock`.
impl<DB: Backend> AsRef<DB::Connection> for Checkout<DB> {
    fn as_ref(&self) -> &DB::Connection {
        &self.0
    }
}

impl<DB: Backend> AsMut<DB::Connection> for Checkout<DB> {
    fn as_mut(&mut self) -> &mut DB::Connection {
        &mut self.0
    }
}
