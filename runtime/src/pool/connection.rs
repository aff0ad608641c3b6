//! An open driver connection, with its state in the pool.

use std::sync::Arc;
use std::time::Instant;

use super::connecting::Opened;
use super::registry::Record;
use super::shared::Shared;
use super::slots::Slot;
use super::spans::Observer;
use crate::backend::Backend;
use crate::background;

/// A connection of the pool, in a slot or just taken out of one.
pub(super) struct Connection<DB: Backend> {
    /// `None` only after [`Connection::detach`], a close or `Drop` took it.
    driver: Option<DB::Connection>,
    pub(super) record: Arc<Record>,
    /// The end of `max_lifetime` with this connection's jitter.
    expires: Option<Instant>,
    /// The pool's generation at the opening; [`super::Pool::evict`] starts a new one.
    generation: u64,
    /// When the connection became idle.
    pub(super) idle_since: Instant,
    /// When the connection was last known to be good, or earlier.
    good_at: Instant,
    shared: Arc<Shared<DB>>,
}

/// A slot of a pool. Its connection is boxed, because every checkout moves it several times.
pub(super) type SlotOf<DB> = Slot<Box<Connection<DB>>>;

impl<DB: Backend> Connection<DB> {
    /// `generation` is that of the pool when the opening began.
    pub(super) fn new(opened: Opened<DB>, generation: u64, shared: &Arc<Shared<DB>>) -> Self {
        let now = Instant::now();
        let session = opened.session.clone();
        let host = session.as_ref().map_or(0, |session| session.host);
        let observer = Observer::new(&shared.connector, host);
        Self {
            driver: Some(opened.take()),
            record: shared
                .registry
                .add(session, &shared.meters, shared.tasks.token(), observer),
            // A lifetime beyond the range of `Instant` is no limit.
            expires: shared
                .jittered_lifetime()
                .and_then(|lifetime| now.checked_add(lifetime)),
            generation,
            idle_since: now,
            good_at: now,
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

    /// Notes that the server has just answered a check.
    pub(super) fn checked(&mut self) {
        self.good_at = Instant::now();
        self.idle_since = self.good_at;
    }

    /// Notes that the connection is idle since `now`. `answered` is when the server last answered in this checkout.
    pub(super) fn rest(&mut self, now: Instant, answered: Option<Instant>) {
        self.idle_since = now;
        let since = self.record.put_back(now);
        if let Some(answered) = answered {
            // An answer does not show that a server which another connection has found demoted is still the wanted one.
            let suspect_since = since.filter(|since| self.shared.is_suspect(*since));
            self.good_at = suspect_since.unwrap_or(answered);
        }
    }

    /// Whether the connection can be handed out without a check: not retired, and recently known to be good.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        !self.is_retired(now) && !self.shared.wants_validation(self.good_at, now)
    }

    /// Whether the connection is to be closed: by age, or by [`super::Pool::evict`].
    pub(super) fn is_retired(&self, now: Instant) -> bool {
        self.generation != self.shared.generation()
            || self.expires.is_some_and(|expires| expires <= now)
    }

    /// Removes the driver's connection from the pool.
    pub(super) fn detach(mut self) -> DB::Connection {
        match self.driver.take() {
            Some(driver) => driver,
            None => unreachable!("only what consumes the whole takes the connection"),
        }
    }

    /// Closes the connection within the limit of a close, and waits for the server to have room again. If the server does not
    /// answer, a statement may still run in the session, which is then terminated.
    pub(super) async fn close(mut self) {
        if let Some(driver) = self.driver.take() {
            let is_closed = self.shared.connector.close(driver).await;
            if !is_closed && self.record.session.is_some() {
                self.shared.terminate(self.record.session.clone()).await;
            }
            self.shared.wait_for_room().await;
        }
    }

    /// As [`close`](Self::close), for a good connection of a pool that closes: a borrowed one goes back to its owner.
    pub(super) async fn close_or_return(mut self) {
        if let Some(driver) = self.driver.take() {
            let is_closed = self.shared.connector.close_or_return(driver).await;
            if !is_closed && self.record.session.is_some() {
                self.shared.terminate(self.record.session.clone()).await;
            }
        }
    }

    /// As [`close`](Self::close), for a connection whose session is not terminated, or is already.
    pub(super) async fn close_failed(mut self) {
        if let Some(driver) = self.driver.take() {
            self.shared.connector.close(driver).await;
            self.shared.wait_for_room().await;
        }
    }

    /// As [`close`](Self::close), without reading pending data.
    pub(super) async fn close_unread(mut self) {
        if let Some(driver) = self.driver.take() {
            self.shared.connector.close_unread(driver).await;
            self.shared.wait_for_room().await;
        }
    }
}

impl<DB: Backend> Drop for Connection<DB> {
    /// Rule 4 for connections that were neither closed nor detached: their task was dropped with its runtime, or their pool
    /// was dropped without a close.
    fn drop(&mut self) {
        if let Some(driver) = self.driver.take() {
            let shared = Arc::clone(&self.shared);
            let record = Arc::clone(&self.record);
            self.shared.spawn(background::track(async move {
                shared.connector.close(driver).await;
                drop(record);
            }));
        }
    }
}
