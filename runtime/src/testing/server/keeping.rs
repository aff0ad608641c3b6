//! Keeps slots and databases for the next test of this process, and gives them up.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use super::adaptor::Adaptor;
use super::database_server::DatabaseServer;
use super::kept::Clean;
use crate::error::Error;
use crate::lock::lock;
use crate::testing::background;

/// How long unused slots and databases are kept. The next test of a run begins within a few milliseconds.
const MOMENT: Duration = Duration::from_millis(500);

/// How long the tests of this process pass on slots before it checks whether another process waits for some.
const TURN: Duration = Duration::from_secs(1);

impl<K: Adaptor> DatabaseServer<K> {
    /// Keeps the slots of an ended test. Releases them when their turn is over and another process waits.
    pub(super) fn keep_slots(self: &Arc<Self>, keys: Vec<String>, since: Instant) {
        lock(&self.kept.0).tests -= 1;
        if since.elapsed() <= TURN {
            return self.pass_on_slots(keys, since);
        }
        let server = Arc::clone(self);
        // The background runtime exists, because it has taken the slots.
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

    /// Gives up the kept slots and databases after [`MOMENT`], unless others are kept meanwhile.
    fn give_up_later(self: &Arc<Self>) {
        let server = Arc::clone(self);
        let mut kept = lock(&self.kept.0);
        kept.puts += 1;
        let puts = kept.puts;
        drop(kept);
        // The background runtime exists, because the kept slots and databases come from it.
        let _ = background::spawn(async move {
            tokio::time::sleep(MOMENT).await;
            if lock(&server.kept.0).puts == puts {
                server.give_up_kept().await;
            }
        });
    }

    /// Keeps a database for the next test, or gives it up to all processes.
    pub(super) async fn keep_database(
        self: &Arc<Self>,
        clean: Clean<K>,
        rolled_back: bool,
    ) -> Result<(), Error> {
        {
            let mut kept = lock(&self.kept.0);
            // A waiting test uses the database at once.
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

    /// Gives up the kept slots and databases; false when no slots were kept.
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

    /// Gives up the databases in which tests have rolled back. If the process ended with them, the next run would have to
    /// drop them and make others.
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
