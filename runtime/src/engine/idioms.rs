//! Further parts of the API of `sqlx::Pool`, for ported code.

use std::future::{Future, ready};
use std::ops::{Deref, DerefMut};
use std::panic::Location;

use futures_core::future::BoxFuture;
use sqlx::Acquire;

use super::{Engine, Transaction};
use crate::backend::Backend;
use crate::error::UsageError;
use crate::pool::{Checkout, Holder, Session};

impl<DB: Backend> Engine<DB> {
    /// Takes an idle connection, without waiting for one and without opening one. `None` when no connection is idle, when the
    /// idle ones have not been used for longer than `validate_after`, and when the pool is not started.
    ///
    /// Unlike sqlx's method, it returns a future, because the driver's count of transactions may have to be corrected first.
    ///
    /// # Cancellation
    ///
    /// The future may be dropped at any await point.
    #[track_caller]
    pub fn try_acquire(&self) -> impl Future<Output = Option<Checkout<DB>>> + Send + use<DB> {
        let holder = Holder::Code(Location::caller());
        let engine = self.clone();
        async move {
            let mut connection = engine.pool()?.try_checkout(holder)?;
            connection.recount().await.ok()?;
            Some(Checkout::new(connection))
        }
    }

    /// The number of open connections, idle or in use: [`status`](Engine::status) has more.
    pub fn size(&self) -> usize {
        self.status().size
    }

    /// The number of idle connections: [`status`](Engine::status) has more.
    pub fn num_idle(&self) -> usize {
        self.status().idle
    }

    /// Whether the pool was closed, or is being closed, and not started again. False before the first start.
    pub fn is_closed(&self) -> bool {
        self.phase().is_closed()
    }
}

/// A checkout that dereferences directly to the driver's connection: the connection of [`Acquire`] for `&Engine`.
#[derive(Debug)]
pub struct Acquired<DB: Backend>(Checkout<DB>);

impl<DB: Backend> Deref for Acquired<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.0
    }
}

impl<DB: Backend> DerefMut for Acquired<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.0
    }
}

impl<DB: Backend> AsRef<DB::Connection> for Acquired<DB> {
    fn as_ref(&self) -> &DB::Connection {
        self
    }
}

impl<DB: Backend> AsMut<DB::Connection> for Acquired<DB> {
    fn as_mut(&mut self) -> &mut DB::Connection {
        self
    }
}

/// For code that is generic over [`Acquire`] and takes a connection, such as `Migrator::run`.
///
/// `Acquire::begin` is an error on an engine with its own pool, because sqlx's transaction can only own a connection of a
/// `sqlx::Pool`: write [`Engine::begin`], or pass `&mut checkout`. Method syntax (`db.begin()`) means [`Engine::begin`] anyway.
impl<'c, DB: Backend> Acquire<'c> for &'_ Engine<DB> {
    type Database = DB;
    type Connection = Acquired<DB>;

    #[track_caller]
    fn acquire(self) -> BoxFuture<'c, sqlx::Result<Acquired<DB>>> {
        let acquiring = Engine::acquire(self);
        Box::pin(async move { acquiring.await.map(Acquired) })
    }

    fn begin(self) -> BoxFuture<'c, sqlx::Result<sqlx::Transaction<'c, DB>>> {
        if let Some(pool) = self.as_sqlx_pool() {
            return Box::pin(async move { pool.begin().await });
        }
        let engine = self.name().to_owned();
        let error = UsageError::GenericBegin { engine };
        Box::pin(ready(Err(sqlx::Error::Configuration(Box::new(error)))))
    }
}

/// Implements `Acquire` for a type that has a session.
macro_rules! acquire {
    ($on:ty, $session:expr) => {
        impl<'c, DB: Backend> Acquire<'c> for &'c mut $on {
            type Database = DB;
            type Connection = &'c mut DB::Connection;

            fn acquire(self) -> BoxFuture<'c, sqlx::Result<&'c mut DB::Connection>> {
                Box::pin(driver($session(self)))
            }

            fn begin(self) -> BoxFuture<'c, sqlx::Result<sqlx::Transaction<'c, DB>>> {
                Box::pin(async move { $session(self).connection_mut()?.begin_nested().await })
            }
        }
    };
}

acquire!(Session<DB>, std::convert::identity);
acquire!(Checkout<DB>, Checkout::session);
acquire!(Transaction<DB>, Transaction::session);

/// The driver's connection, for a use that the pool cannot observe.
async fn driver<DB: Backend>(session: &mut Session<DB>) -> sqlx::Result<&mut DB::Connection> {
    let connection = session.connection_mut()?;
    connection.check_open()?;
    connection.check_answering().await?;
    Ok(connection)
}
