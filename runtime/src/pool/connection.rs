//! An open driver connection, with what the pool knows of it.

use std::sync::Arc;
use std::time::Instant;

use super::connecting::Opened;
use super::registry::Record;
use super::shared::Shared;
use super::slots::Slot;
use super::spans::Observer;
use crate::backend::Backend;
use crate::background;

/// A connection of the pool, in a slot or on its way out of one.
pub(super) struct Connection<DB: Backend> {
    /// `None` only once `Drop` or [`Connection::close`] took it.
    driver: Option<DB::Connection>,
    pub(super) record: Arc<Record>,
    /// When `max_lifetime`, with this connection's jitter, is over.
    expires: Option<Instant>,
    /// The pool's generation when it was opened; [`super::Pool::evict`] starts a new one.
    generation: u64,
    /// When it was last known to be good and idle.
    pub(super) idle_since: Instant,
    shared: Arc<Shared<DB>>,
}

/// A slot of a pool. Its connection is boxed, because it is moved from hand to hand at every checkout.
pub(super) type SlotOf<DB> = Slot<Box<Connection<DB>>>;

impl<DB: Backend> Connection<DB> {
    pub(super) fn new(opened: Opened<DB>, shared: &Arc<Shared<DB>>) -> Self {
        let now = Instant::now();
        let session = opened.session.clone();
        let host = session.as_ref().map_or(0, |session| session.host);
        let observer = Observer::new(&shared.connector, host);
        Self {
            driver: Some(opened.take()),
            record: shared
                .registry
                .add(session, &shared.meters, shared.tasks.token(), observer),
            // A lifetime that no clock reaches is none.
            expires: shared
                .jittered_lifetime()
                .and_then(|lifetime| now.checked_add(lifetime)),
            generation: shared.generation(),
            idle_since: now,
            shared: Arc::clone(shared),
        }
    }

    pub(super) fn parts(&self) -> (&DB::Connection, &Arc<Record>) {
        match &self.driver {
            Some(driver) => (driver, &self.record),
            None => unreachable!("only what consumes the whole takes the connection"),
        }
    }

    pub(super) fn parts_mut(&mut self) -> (&mut DB::Connection, &Arc<Record>) {
        match &mut self.driver {
            Some(driver) => (driver, &self.record),
            None => unreachable!("only what consumes the whole takes the connection"),
        }
    }

    pub(super) fn driver_mut(&mut self) -> &mut DB::Connection {
        self.parts_mut().0
    }

    pub(super) fn shared(&self) -> &Arc<Shared<DB>> {
        &self.shared
    }

    /// Notes that nobody has it any more, and that it is good.
    pub(super) fn rest(&mut self, now: Instant) {
        self.idle_since = now;
        self.record.put_back(now);
    }

    /// Whether it may be handed out as it is: not retired, and known to be good a moment ago.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        !self.is_retired(now) && !self.shared.wants_validation(self.idle_since, now)
    }

    /// Whether its time is over: by age, or by [`super::Pool::evict`].
    pub(super) fn is_retired(&self, now: Instant) -> bool {
        self.generation != self.shared.generation()
            || self.expires.is_some_and(|expires| expires <= now)
    }

    /// The driver's connection, which is none of the pool's any more.
    pub(super) fn detach(mut self) -> DB::Connection {
        match self.driver.take() {
            Some(driver) => driver,
            None => unreachable!("only what consumes the whole takes the connection"),
        }
    }

    /// Says goodbye to the server and waits for it, within the goodbye's limit.
    pub(super) async fn close(mut self) {
        if let Some(driver) = self.driver.take() {
            self.shared.connector.goodbye(driver).await;
            self.shared.wait_for_room().await;
        }
    }

    /// As [`close`](Self::close), without reading what is still to be read.
    pub(super) async fn close_unread(mut self) {
        if let Some(driver) = self.driver.take() {
            self.shared.connector.goodbye_unread(driver).await;
            self.shared.wait_for_room().await;
        }
    }
}

impl<DB: Backend> Drop for Connection<DB> {
    /// Rule 4: whichever way a connection leaves, the server hears a goodbye. This is the way of connections whose task was
    /// dropped with its runtime, or whose pool was forgotten.
    fn drop(&mut self) {
        if let Some(driver) = self.driver.take() {
            let shared = Arc::clone(&self.shared);
            let record = Arc::clone(&self.record);
            self.shared.spawn(background::track(async move {
                shared.connector.goodbye(driver).await;
                drop(record);
            }));
        }
    }
}
