//! The server's connections, shared among all processes that test on it.
//!
//! A test asks for as many slots as it may open connections (`max_size`) and gets them all at once, so that no test holds
//! some and waits for more. Half of the server's connections are slots. The other half is for the connection that each
//! process keeps, for clones and returns in the background, and for other users of the server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::adaptor::Adaptor;
use super::database_server::DatabaseServer;
use super::kind::PREFIX;
use crate::error::Error;
use crate::testing::test_server::Reservation;

/// The longest pause, before jitter, of a waiting process. The end of one of its own tests wakes the process earlier.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// How long a process queues for its turn, before it takes free slots out of turn. So a stopped process at the front (a
/// debugger, Ctrl-Z) blocks no other for longer.
const QUEUE_LIMIT: Duration = Duration::from_secs(2);

/// The lock of the process that gets the next slots. Other processes queue for it, and see from it that a process waits.
fn next_lock() -> String {
    format!("{PREFIX}slots_next")
}

/// Slots of one test, returned when dropped.
struct ReservedSlots<K: Adaptor> {
    server: Arc<DatabaseServer<K>>,
    keys: Vec<String>,
    since: Instant,
}

impl<K: Adaptor> DatabaseServer<K> {
    fn given(self: &Arc<Self>, keys: Vec<String>, since: Instant) -> Reservation {
        self.kept.use_slots();
        self.begun.notify_waiters();
        Box::new(ReservedSlots {
            server: Arc::clone(self),
            keys,
            since,
        })
    }

    /// Waits for the slots of one test.
    pub(super) async fn reserve_slots(self: Arc<Self>, wanted: u32) -> Result<Reservation, Error> {
        if wanted == 0 {
            // The test is counted, and its connections are reserved through another user or address of the server.
            let none = || (Vec::new(), Instant::now());
            let (keys, since) = self.kept.take_slots(0).unwrap_or_else(none);
            return Ok(self.given(keys, since));
        }
        // First come, first served, because a test that wants many slots would otherwise wait for the end of all others.
        let _turn = self.budget_turn.lock().await;
        let mut is_next = false;
        let reserved = self.wait_for_slots(wanted, &mut is_next).await;
        if is_next {
            let unlocked =
                async { Ok::<_, Error>(self.session.take().await?.unlock(&[next_lock()]).await?) };
            if let Err(error) = unlocked.await {
                // The lock has ended with the session, and so have the slots. The check of the lease reports that.
                tracing::debug!(%error, "the lock of the next slots could not be given back");
            }
        }
        reserved
    }

    /// Waits for slots. Sets `is_next` when this process has the lock of [`next_lock`].
    async fn wait_for_slots(
        self: &Arc<Self>,
        wanted: u32,
        is_next: &mut bool,
    ) -> Result<Reservation, Error> {
        let begun = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            let freed = self.freed.notified();
            let all = (self.session.identity().await?.max_connections / 2).max(1);
            let wanted = wanted.min(all) as usize;
            if let Some((keys, since)) = self.kept.take_slots(wanted) {
                return Ok(self.given(keys, since));
            }
            let mut session = self.session.take().await?;
            *is_next = *is_next || session.try_lock(&next_lock()).await?;
            if *is_next || begun.elapsed() > QUEUE_LIMIT {
                let slots: Vec<String> = (0..all)
                    .map(|number| format!("{PREFIX}slot_{number}"))
                    .collect();
                let keys = session.lock_some(&slots, wanted).await?;
                if keys.len() == wanted {
                    self.kept.add_slots(wanted);
                    return Ok(self.given(keys, Instant::now()));
                }
                session.unlock(&keys).await?;
            }
            drop(session);
            if self.give_up_kept().await {
                continue;
            }
            // With jitter, so that no process is too late each time.
            let _ = tokio::time::timeout(pause.mul_f64(0.5 + fastrand::f64()), freed).await;
            pause = (pause * 2).min(ASK_AGAIN);
        }
    }

    /// Whether a process waits for slots.
    pub(super) async fn somebody_waits(&self) -> Result<bool, Error> {
        let mut session = self.session.take().await?;
        let key = next_lock();
        if !session.try_lock(&key).await? {
            return Ok(true);
        }
        session.unlock(&[key]).await?;
        Ok(false)
    }
}

impl<K: Adaptor> Drop for ReservedSlots<K> {
    fn drop(&mut self) {
        self.server
            .keep_slots(std::mem::take(&mut self.keys), self.since);
    }
}
