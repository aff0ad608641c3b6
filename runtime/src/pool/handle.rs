//! A started pool.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use super::checked_out::CheckedOut;
use super::connection::{Connection, SlotOf};
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

/// The kind of pool: with its own slots, or over a `sqlx::Pool` if the function asks for one.
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
    /// Empty slots for which a full server had no room. They stay taken, so that callers wait in the queue for the connections
    /// that there are, first come, first served. The keeper asks the server again, for one of them at a time. The
    /// lock is held for one push or removal, and no slot is dropped under it.
    pub(super) kept_empty: Mutex<Vec<SlotOf<DB>>>,
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
    /// The pool is closed, all slots are taken (by whom), or the server cannot be reached.
    ///
    /// # Cancellation
    ///
    /// The future may be dropped at any await point. A connection that is being opened for it then goes to the next waiter
    /// or into the idle queue.
    pub(crate) async fn checkout(&self, holder: Holder) -> Result<CheckedOut<DB>, AcquireError> {
        match &self.0.flavour {
            Flavour::Own(own) => own.checkout(holder).await,
            // Boxed: the future includes the opening of a connection, and would enlarge those that wait for our own slots.
            Flavour::Sqlx(pool) => Box::pin(pool.checkout(holder)).await,
        }
    }

    /// Takes a connection that is idle and known to be good at this moment, if there is one.
    pub(crate) fn try_checkout(&self, holder: Holder) -> Option<CheckedOut<DB>> {
        match &self.0.flavour {
            Flavour::Own(own) => own.try_checkout(holder),
            Flavour::Sqlx(pool) => pool.try_checkout(holder),
        }
    }

    /// The pool's status at this moment.
    pub(crate) fn status(&self) -> Status {
        match &self.0.flavour {
            Flavour::Own(own) => own.status(),
            Flavour::Sqlx(pool) => pool.status(&self.0.settings),
        }
    }

    /// Changes the maximum number of connections; false on a `sqlx::Pool`, which cannot be resized. Idle connections above
    /// the new maximum are closed now, those in use at their return.
    pub(crate) fn resize(&self, max_size: NonZeroU32) -> bool {
        let Flavour::Own(own) = &self.0.flavour else {
            return false;
        };
        // They count as taken, and connections would be closed in their place.
        own.release_kept_empty();
        let excess = own.slots.resize(max_size.get() as usize);
        excess.into_iter().for_each(recovery::close);
        own.shared
            .meters
            .resized(max_size.get(), self.0.settings.min_size);
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

    /// Whether the server answered last time. If not, the keeper soon asks again.
    pub(crate) fn is_reachable(&self) -> bool {
        match &self.0.flavour {
            Flavour::Own(own) => own.shared.is_reachable(),
            Flavour::Sqlx(_) => true,
        }
    }

    /// Whether the server answered last time. A server that was never asked, as after a lazy start, is asked in the
    /// background, and counts as reachable when it has answered.
    pub(crate) fn has_answered(&self) -> bool {
        if let Flavour::Own(own) = &self.0.flavour
            && !own.shared.was_asked()
        {
            self.seek();
        }
        self.is_reachable()
    }

    /// Whether every slot is taken and tasks wait for one, or every connection is in use and the server is full. On a
    /// `sqlx::Pool`, which does not report waiters: whether every connection is in use.
    pub(crate) fn is_saturated(&self) -> bool {
        match &self.0.flavour {
            Flavour::Own(own) => {
                let sizes = own.slots.sizes();
                let is_used_up = sizes.waiting > 0 && sizes.taken >= sizes.max;
                is_used_up || (sizes.idle == 0 && sizes.taken > 0 && own.shared.is_full())
            }
            Flavour::Sqlx(pool) => pool.is_exhausted(),
        }
    }

    /// Treats the server as unreachable until it answers the keeper.
    pub(crate) fn seek(&self) {
        if let Flavour::Own(own) = &self.0.flavour {
            own.shared.suspect_all();
        }
    }

    /// The underlying `sqlx::Pool`, if there is one.
    pub(crate) fn as_sqlx(&self) -> Option<&sqlx::Pool<DB>> {
        match &self.0.flavour {
            Flavour::Own(_) => None,
            Flavour::Sqlx(pool) => Some(pool.pool()),
        }
    }
}

impl<DB: Backend> Drop for Own<DB> {
    /// Closes the slots of a pool that is dropped without a close: idle connections now, those in use at their return.
    /// Otherwise a leaked checkout would keep the slots and their idle connections.
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
        let mut status = Status {
            max: slots.max,
            size: self.shared.registry.open(),
            idle: slots.idle,
            in_use: self.shared.registry.in_use(),
            waiting: slots.waiting,
            acquired: slots.served,
            ..Status::default()
        };
        self.shared.counters.fill(&mut status);
        status
    }
}
