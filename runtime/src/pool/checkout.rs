//! A connection that a user has taken out of the pool.

use std::future::Future;
use std::ops::{Deref, DerefMut};

use super::checked_out::CheckedOut;
use super::session::Session;
use crate::backend::Backend;

/// One connection out of the pool, held by a task.
///
/// It is an executor (`query.execute(&mut checkout)`, `query.execute(&mut *checkout)`), and takes the place of sqlx's
/// `PoolConnection`: it dereferences to a [`Session`], and through it to the driver's connection, for functions that take a
/// `&mut PgConnection`.
///
/// # Drop
///
/// Dropping it never waits and never loses its slot of the pool, inside a runtime or outside of any.
///
/// - Used as an executor, with every query finished and no transaction open: it goes back at once.
/// - Otherwise its state is not known: a dropped query or half-read stream, an open or half-begun transaction, or use
///   of the driver's connection, which the pool cannot watch. It is then drained, rolled back and checked with the server in
///   a task of the pool, within two seconds, or closed. Nobody gets it in between.
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

    /// Closes the connection instead of giving it back, and waits until the server has heard the goodbye, within a limit of
    /// the pool's. Its slot is free then.
    ///
    /// # Errors
    ///
    /// None today; the result is that of sqlx's `PoolConnection::close`.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, the connection is closed all the same, in a task of the pool.
    pub fn close(mut self) -> impl Future<Output = sqlx::Result<()>> + Send {
        async move {
            self.0.take()?.close().await;
            Ok(())
        }
    }

    /// Takes the driver's connection out of the pool for good, as sqlx's `PoolConnection::detach`: its slot is free at once, the
    /// pool may open another connection in its place, and nobody closes this one but its owner.
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

impl<DB: Backend> AsMut<DB::Connection> for Checkout<DB> {
    fn as_mut(&mut self) -> &mut DB::Connection {
        &mut self.0
    }
}
