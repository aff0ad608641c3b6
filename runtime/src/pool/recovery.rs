//! Validating, recovering, replacing and closing a slot's connection, in a task of the pool that owns the slot.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::connecting::{Opened, SessionId};
use super::connection::{Connection, SlotOf};
use super::driver_state::{Recovered, recover};
use super::shared::{ROOM_PAUSE, Shared};
use super::slots::Vacate;
use super::status::Ongoing;
use crate::backend::Backend;
use crate::dialect::Diagnosis;

/// How long validating or recovering one connection may take before it counts as broken.
///
/// A round trip to a reachable server takes milliseconds; two seconds leave room for a slow rollback.
pub(crate) const RECOVERY_LIMIT: Duration = Duration::from_secs(2);

impl<DB: Backend> Shared<DB> {
    /// Makes a slot ready for use: validates its connection, or opens one for an empty slot or instead of a retired or
    /// broken one.
    ///
    /// # Errors
    ///
    /// Why no connection could be opened. The slot is returned, empty.
    pub(super) async fn make_ready(self: &Arc<Self>, slot: SlotOf<DB>) -> sqlx::Result<SlotOf<DB>> {
        self.try_ready(slot).await.map_err(|(error, _)| error)
    }

    /// As [`make_ready`](Self::make_ready). The empty slot comes with the error.
    pub(super) async fn try_ready(
        self: &Arc<Self>,
        mut slot: SlotOf<DB>,
    ) -> Result<SlotOf<DB>, (sqlx::Error, SlotOf<DB>)> {
        let _ongoing = Ongoing::begin(&self.counters.readying);
        if let Some(connection) = slot.value.take() {
            slot.value = self.validate(connection).await;
            if slot.value.is_some() {
                return Ok(slot);
            }
        }
        match self.open().await {
            Ok(connection) => {
                slot.value = Some(connection);
                Ok(slot)
            }
            Err(error) => Err((error, slot)),
        }
    }

    /// Opens a connection for a slot that the caller holds.
    async fn open(self: &Arc<Self>) -> sqlx::Result<Box<Connection<DB>>> {
        let begun = Instant::now();
        let engine = &self.connector.settings.engine;
        loop {
            // Before the opening: a connection that is being opened during an eviction is retired.
            let generation = self.generation();
            let error = match self.connect().await {
                Ok(opened) => {
                    self.note_answered(true);
                    self.note_full(false);
                    self.outages.over(engine);
                    self.meters.created(begun.elapsed());
                    return Ok(Box::new(self.opened(opened, generation)));
                }
                Err(error) => error,
            };
            let diagnosis = self.connector.dialect().diagnosis(&error);
            if self.is_only_late(&error, &diagnosis) {
                tokio::time::sleep(ROOM_PAUSE).await;
                continue;
            }
            // A full server is there, and the pool serves with the connections it has.
            let is_full = diagnosis.full && self.registry.open() > 0;
            self.note_full(is_full);
            if !is_full {
                self.note_answered(false);
            }
            if !self.tasks.is_closed() {
                self.outages.failed(engine, &diagnosis, &error);
            }
            return Err(error);
        }
    }

    /// Connects to the server, and to an unreachable one also behind a pooler, which answers a login without its server.
    async fn connect(&self) -> sqlx::Result<Opened<DB>> {
        let mut opened = self.connector.connect().await?;
        if !self.is_reachable() && self.connector.is_behind_pooler() {
            let asked = opened.ask(RECOVERY_LIMIT, "the limit for recovery");
            if let Err(error) = asked.await {
                // Before the slot is free again.
                opened.close().await;
                return Err(error);
            }
        }
        Ok(opened)
    }

    /// Whether the server may be full only because it has not yet ended a session that we closed.
    fn is_only_late(&self, error: &sqlx::Error, diagnosis: &Diagnosis) -> bool {
        diagnosis.retry && matches!(error, sqlx::Error::Database(_)) && self.may_wait_for_room()
    }

    /// Counts a connection that was opened for a slot.
    pub(super) fn opened(self: &Arc<Self>, opened: Opened<DB>, generation: u64) -> Connection<DB> {
        self.counters.opened.fetch_add(1, Relaxed);
        Connection::new(opened, generation, self)
    }

    /// Pings an idle connection; closes it when it is retired or does not answer.
    async fn validate(&self, mut connection: Box<Connection<DB>>) -> Option<Box<Connection<DB>>> {
        if connection.is_retired(Instant::now()) {
            self.counters.closed_lifetime.fetch_add(1, Relaxed);
            connection.close().await;
            return None;
        }
        match timeout(
            RECOVERY_LIMIT,
            self.connector.check(connection.driver_mut()),
        )
        .await
        {
            Ok(Ok(true)) => {
                self.note_answered(true);
                connection.checked();
                Some(connection)
            }
            Ok(answer) => {
                self.failed(answer.is_ok());
                self.discard(connection).await;
                None
            }
            Err(_) => {
                // No statement has kept it from answering.
                self.suspect_all();
                self.terminate(connection.record.session.clone()).await;
                self.discard(connection).await;
                None
            }
        }
    }

    /// Recovers a connection.
    async fn recover(
        &self,
        driver: &mut DB::Connection,
        counts_ended: bool,
    ) -> sqlx::Result<Recovered> {
        let pooled = self.connector.settings.pooler.is_some();
        let dialect = self.connector.dialect();
        let recovered =
            recover::<DB>(driver, dialect, self.idle_depth(), pooled, counts_ended).await?;
        let asks = recovered == Recovered::Good && self.connector.hosts.asks(dialect);
        if asks && !self.connector.check(driver).await? {
            return Ok(Recovered::OtherRole);
        }
        Ok(recovered)
    }

    /// Terminates the session of a connection that did not answer, because a statement may still run in it.
    pub(super) async fn terminate(&self, session: Option<SessionId>) {
        let Some(session) = session else {
            // In a file, or behind a pooler, where a statement may be the reason, and not the server.
            return self.validate_all();
        };
        self.suspect_all();
        let SessionId { id, .. } = &session;
        let engine = &self.connector.settings.engine;
        crate::logging::warn!(
            %engine,
            session = &**id,
            "a connection gave no answer within {RECOVERY_LIMIT:?}; its session is terminated"
        );
        match self.connector.terminate(&session).await {
            // The server has answered.
            Ok(()) => self.note_answered(true),
            Err(error) => {
                crate::logging::warn!(%engine, session = &**id, %error, "the session could not be terminated");
            }
        }
    }

    /// Notes a failed check of a connection, whose server has answered with another role than the wanted one, or not at all.
    fn failed(&self, has_answered: bool) {
        if has_answered {
            self.validate_all();
        } else {
            self.suspect_all();
        }
    }

    /// Closes a connection that failed, and runs no statement any more.
    async fn discard(&self, connection: Box<Connection<DB>>) {
        self.counters.broken.fetch_add(1, Relaxed);
        connection.close_failed().await;
    }
}

/// Whether an error shows that the server is there, with the session in it.
fn has_answered<DB: Backend>(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(_) => !DB::ends_session(error),
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed => false,
        _ => true,
    }
}

/// Returns a slot with a connection in a known state, or closes the connection if it is retired. `answered` is when the server
/// last answered in this checkout.
pub(super) fn give_back<DB: Backend>(
    mut slot: SlotOf<DB>,
    now: Instant,
    answered: Option<Instant>,
) {
    let Some(connection) = &mut slot.value else {
        return;
    };
    if connection.is_retired(now) {
        let counters = &connection.shared().counters;
        counters.closed_lifetime.fetch_add(1, Relaxed);
        return close(slot);
    }
    connection.rest(now, answered);
}

/// Recovers a connection of unknown state, or closes it.
pub(super) fn give_back_unverified<DB: Backend>(mut slot: SlotOf<DB>, counts_ended: bool) {
    // Out of the slot before the task: if the runtime is gone and drops the task, the slot returns empty.
    let Some(mut connection) = slot.value.take() else {
        return;
    };
    connection.record.returned();
    let shared = Arc::clone(connection.shared());
    Arc::clone(&shared).spawn(async move {
        // A retired connection is closed without a recovery.
        if connection.is_retired(Instant::now()) {
            shared.counters.closed_lifetime.fetch_add(1, Relaxed);
            connection.close().await;
            return return_empty(&shared, slot);
        }
        let recovering = shared.recover(connection.driver_mut(), counts_ended);
        match timeout(RECOVERY_LIMIT, recovering).await {
            Ok(Ok(Recovered::Good)) => {
                slot.value = Some(connection);
                let now = Instant::now();
                return give_back(slot, now, Some(now));
            }
            Ok(answer) => {
                match answer {
                    Ok(Recovered::OtherRole) => shared.failed(true),
                    Ok(_) => {}
                    Err(error) => shared.failed(has_answered::<DB>(&error)),
                }
                shared.discard(connection).await;
            }
            Err(_) => {
                shared.terminate(connection.record.session.clone()).await;
                shared.discard(connection).await;
            }
        }
        return_empty(&shared, slot);
    });
}

/// Returns a slot whose connection is closed, and lets the keeper open another one if `min_size` wants it.
pub(super) fn return_empty<DB: Backend>(shared: &Shared<DB>, slot: SlotOf<DB>) {
    drop(slot);
    if shared.connector.settings.min_size > 0 {
        shared.wake_keeper.notify_one();
    }
}

/// Closes the connection of a slot, and returns the slot after the close.
pub(super) fn close<DB: Backend>(mut slot: SlotOf<DB>) {
    if let Some(connection) = slot.value.take() {
        connection.record.returned();
        let shared = Arc::clone(connection.shared());
        Arc::clone(&shared).spawn(async move {
            connection.close().await;
            return_empty(&shared, slot);
        });
    }
}

/// As [`close`], for a connection that is known to be broken.
pub(super) fn close_broken<DB: Backend>(slot: SlotOf<DB>) {
    if let Some(connection) = &slot.value {
        connection.shared().suspect_all();
    }
    close(slot);
}

/// As [`close`], for a connection that can no longer be read from, although its session is intact.
pub(super) fn close_unusable<DB: Backend>(mut slot: SlotOf<DB>) {
    if let Some(connection) = slot.value.take() {
        connection.record.returned();
        let shared = Arc::clone(connection.shared());
        Arc::clone(&shared).spawn(async move {
            connection.close_unread().await;
            return_empty(&shared, slot);
        });
    }
}

impl<DB: Backend> Vacate for Box<Connection<DB>> {
    /// Only good connections are in dropped slots.
    fn vacate(self, mut slot: SlotOf<DB>) {
        let shared = Arc::clone(self.shared());
        if !shared.tasks.is_closed() {
            slot.value = Some(self);
            return close(slot);
        }
        Arc::clone(&shared).spawn(async move {
            self.close_or_return().await;
            return_empty(&shared, slot);
        });
    }
}
