//! A started pool.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use super::checked_out::CheckedOut;
use super::connection::Connection;
use super::on_sqlx::OnSqlx;
use super::recovery;
use super::registry::Holder;
use super::shared::Shared;
use super::slots::Slots;
use super::status::Status;
use crate::backend::Backend;
use crate::error::AcquireError;
use crate::settings::EngineSettings;

/// A started pool. Cheap to clone.
pub(crate) struct Pool<DB: Backend>(pub(super) Arc<Inner<DB>>);

pub(super) struct Inner<DB: Backend> {
    pub(super) flavour: Flavour<DB>,
    pub(super) settings: Arc<EngineSettings>,
}

/// What the pool stands on: slots of its own, or a `sqlx::Pool` where the function asks for one.
pub(super) enum Flavour<DB: Backend> {
    Own(Own<DB>),
    Sqlx(OnSqlx<DB>),
}

pub(super) struct Own<DB: Backend> {
    pub(super) slots: Slots<Box<Connection<DB>>>,
    pub(super) shared: Arc<Shared<DB>>,
    /// Set when the close begins.
    pub(super) closing: CancellationToken,
    /// Keeps an in-memory SQLite database alive while no slot has a connection.
    pub(super) anchor: Mutex<Option<DB::Connection>>,
}

impl<DB: Backend> Clone for Pool<DB> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<DB: Backend> Pool<DB> {
    /// Takes a connection, waiting for one up to `acquire_timeout`.
    ///
    /// # Errors
    ///
    /// Why there was none: the pool is closed, all slots are taken (by whom), or the server cannot be reached.
    ///
    /// # Cancellation
    ///
    /// The future may be dropped at any await point; a connection that is being opened for it then goes to the next one.
    pub(crate) async fn checkout(&self, holder: Holder) -> Result<CheckedOut<DB>, AcquireError> {
        match &self.0.flavour {
            Flavour::Own(own) => own.checkout(holder).await,
            // Boxed: it has room for opening a connection, which those who wait for our own slots are not to carry along.
            Flavour::Sqlx(pool) => Box::pin(pool.checkout(holder)).await,
        }
    }

    /// The pool at this moment.
    pub(crate) fn status(&self) -> Status {
        match &self.0.flavour {
            Flavour::Own(own) => own.status(),
            Flavour::Sqlx(pool) => pool.status(&self.0.settings),
        }
    }

    /// Changes the most connections at one time; false on a `sqlx::Pool`, which cannot. Idle connections above the new
    /// size are closed now, those in use at their return.
    pub(crate) fn resize(&self, max_size: NonZeroU32) -> bool {
        let Flavour::Own(own) = &self.0.flavour else {
            return false;
        };
        let excess = own.slots.resize(max_size.get() as usize);
        excess.into_iter().for_each(recovery::close);
        own.shared.meters.resized(max_size.get());
        true
    }

    /// Retires every connection that is open now: the idle ones at once, those in use at their return.
    pub(crate) fn evict(&self) {
        match &self.0.flavour {
            Flavour::Own(own) => {
                own.shared.next_generation();
                own.retire_idle();
            }
            Flavour::Sqlx(pool) => pool.evict(),
        }
    }

    /// Whether the server answered last time. The keeper asks again soon when it did not.
    pub(crate) fn is_reachable(&self) -> bool {
        match &self.0.flavour {
            Flavour::Own(own) => own.shared.is_reachable(),
            Flavour::Sqlx(_) => true,
        }
    }

    /// Whether every slot is taken and tasks wait for one. sqlx does not tell who waits.
    pub(crate) fn is_saturated(&self) -> bool {
        match &self.0.flavour {
            Flavour::Own(own) => {
                let sizes = own.slots.sizes();
                sizes.waiting > 0 && sizes.taken >= sizes.max
            }
            Flavour::Sqlx(pool) => pool.is_exhausted(),
        }
    }

    /// Takes the server for gone until it answers the keeper.
    pub(crate) fn seek(&self) {
        if let Flavour::Own(own) = &self.0.flavour {
            own.shared.suspect_all();
        }
    }

    /// The `sqlx::Pool` that this pool stands on, if it does.
    pub(crate) fn as_sqlx(&self) -> Option<&sqlx::Pool<DB>> {
        match &self.0.flavour {
            Flavour::Own(_) => None,
            Flavour::Sqlx(pool) => Some(pool.pool()),
        }
    }
}

impl<DB: Backend> Drop for Own<DB> {
    /// A pool that is forgotten without a close: the idle connections say goodbye now, and those in use at their return,
    /// although a checkout that is leaked keeps the slots.
    fn drop(&mut self) {
        for mut slot in self.slots.close() {
            drop(slot.value.take());
        }
    }
}

impl<DB: Backend> Own<DB> {
    pub(super) fn settings(&self) -> &Arc<EngineSettings> {
        &self.shared.connector.settings
    }

    pub(super) fn status(&self) -> Status {
        let slots = self.slots.sizes();
        let taken = self.shared.registry.taken().len();
        let size = self.shared.registry.open();
        let mut status = Status {
            max: slots.max,
            size,
            idle: size.saturating_sub(taken),
            in_use: taken,
            waiting: slots.waiting,
            acquired: slots.served,
            ..Status::default()
        };
        self.shared.counters.fill(&mut status);
        status
    }
}
