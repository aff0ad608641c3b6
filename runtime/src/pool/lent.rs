//! Connections that a test's engine is lent: they were there before its pool, and may outlive it.

use std::any::Any;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use crate::backend::Backend;

/// What an engine's settings carry; the settings do not know the kind of database.
pub(crate) type LentToAny = Arc<dyn Any + Send + Sync>;

/// Connections that an engine takes before it opens any.
pub(crate) struct Lent<DB: Backend> {
    idle: Mutex<Vec<DB::Connection>>,
    /// Whether the engine gives connections back here where it would else say goodbye to them.
    comes_back: bool,
}

#[cfg_attr(
    not(feature = "postgres"),
    allow(
        dead_code,
        reason = "so far only tests on Postgres are lent connections"
    )
)]
impl<DB: Backend> Lent<DB> {
    pub(crate) fn new(connection: DB::Connection, comes_back: bool) -> Arc<Self> {
        Arc::new(Self {
            idle: Mutex::new(vec![connection]),
            comes_back,
        })
    }

    /// What is lent to an engine of this kind.
    pub(super) fn of(lent: Option<&LentToAny>) -> Option<Arc<Self>> {
        Arc::clone(lent?).downcast().ok()
    }

    pub(super) fn take(&self) -> Option<DB::Connection> {
        self.lock().pop()
    }

    /// Takes a connection back, or returns it when it is to be closed.
    pub(super) fn give_back(&self, connection: DB::Connection) -> Option<DB::Connection> {
        if !self.comes_back {
            return Some(connection);
        }
        self.lock().push(connection);
        None
    }

    /// What has come back, or was never taken.
    pub(crate) fn take_all(&self) -> Vec<DB::Connection> {
        mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<DB::Connection>> {
        // Nothing panics while the lock is held.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
