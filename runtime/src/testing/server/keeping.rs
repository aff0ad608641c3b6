//! Keeping slots and databases for the next test of this process, and giving them back.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use super::adaptor::Adaptor;
use super::database_server::DatabaseServer;
use super::kept::Clean;
use crate::error::Error;
use crate::lock::lock;
use crate::testing::background;

/// How long something is kept that no test takes. The next test of a run begins within a few milliseconds.
const MOMENT: Duration = Duration::from_millis(500);

/// How long slots are passed on among the tests of this process before it asks whether another one waits for some.
const TURN: Duration = Duration::from_secs(1);

impl<K: Adaptor> DatabaseServer<K> {
    /// Keeps the slots of a test that has ended, or gives them back when their turn is over and another process waits.
    pub(super) fn keep_slots(self: &Arc<Self>, keys: Vec<String>, since: Instant) {
        lock(&self.kept.0).tests -= 1;
        if since.elapsed() <= TURN {
            return self.pass_on_slots(keys, since);
        }
        let server = Arc::clone(self);
        // The runtime is there: it has taken the slots.
        let _ = background::spawn(async move {
            if matches!(server.somebody_waits().await, Ok(false)) {
                return server.pass_on_slots(keys, Instant::now());
            }
            server.give_up_databases().await;
            server.unlock_slots(&keys).await;
        });
    }

    /// Keeps slots for the next test.
    fn pass_on_slots(self: &Arc<Self>, keys: Vec<String>, since: Instant) {
        lock(&self.kept.0).slots.push((keys, since));
        self.freed.notify_waiters();
        self.give_up_later();
    }

    /// Gives back what is kept, unless something else is put there within a moment.
    fn give_up_later(self: &Arc<Self>) {
        let server = Arc::clone(self);
        let mut kept = lock(&self.kept.0);
        kept.puts += 1;
        let puts = kept.puts;
        drop(kept);
        // The runtime is there: what is kept comes from it.
        let _ = background::spawn(async move {
            tokio::time::sleep(MOMENT).await;
            if lock(&server.kept.0).puts == puts {
                server.give_up_kept().await;
            }
        });
    }

    /// Keeps a database for the next test, or lets any process have it.
    pub(super) async fn keep_database(
        self: &Arc<Self>,
        clean: Clean<K>,
        rolled_back: bool,
    ) -> Result<(), Error> {
        {
            let mut kept = lock(&self.kept.0);
            // One that a test waits for is used at once.
            if self.waiting.load(SeqCst) > 0 || kept.has_room(rolled_back) {
                let key = (clean.template.fingerprint.clone(), rolled_back);
                let databases = kept.databases.entry(key).or_default();
                databases.push(clean);
                drop(kept);
                self.give_up_later();
                return Ok(());
            }
        }
        self.give_up(clean, rolled_back).await
    }

    /// Gives back what is kept; false when that was nothing.
    pub(super) async fn give_up_kept(&self) -> bool {
        let slots = std::mem::take(&mut lock(&self.kept.0).slots);
        self.give_up_databases().await;
        for (keys, _) in &slots {
            self.unlock_slots(keys).await;
        }
        self.session.close_workers().await;
        !slots.is_empty()
    }

    async fn give_up_databases(&self) {
        let databases = std::mem::take(&mut lock(&self.kept.0).databases);
        for ((_, rolled_back), databases) in databases {
            self.give_up_all(databases, rolled_back).await;
        }
    }

    async fn give_up_all(&self, databases: Vec<Clean<K>>, rolled_back: bool) {
        for clean in databases {
            if let Err(error) = self.give_up(clean, rolled_back).await {
                tracing::debug!(%error, "a clean database could not be given up");
            }
        }
    }

    /// Gives up the databases in which tests have rolled back: if the process ends now, they are there for the next run, which
    /// would have to drop them and to make others.
    pub(super) async fn give_up_rolled_back(&self) {
        let mut rolled_back = Vec::new();
        for ((_, is_rolled_back), databases) in &mut lock(&self.kept.0).databases {
            if *is_rolled_back {
                rolled_back.append(databases);
            }
        }
        self.give_up_all(rolled_back, true).await;
    }

    async fn unlock_slots(&self, keys: &[String]) {
        lock(&self.kept.0).all_slots -= keys.len();
        let unlocked = async { Ok::<_, Error>(self.session.take().await?.unlock(keys).await?) };
        if let Err(error) = unlocked.await {
            tracing::warn!(%error, "slots for connections could not be given back");
        }
        self.freed.notify_waiters();
    }
}
