//! What this process keeps from one test to the next: places, and clean databases with their connections.
//!
//! A test that begins right after another one then asks the server for nothing. What no test has taken for a moment goes
//! back, so that other processes get it.

use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::connection::KeptConnection;
use super::{Kind, Leased, Server, Template, lock};
use crate::error::Error;
use crate::testing::background;

/// How long something is kept that no test takes. The next test of a run begins within a few milliseconds.
const MOMENT: Duration = Duration::from_millis(500);

/// How long places are passed on among the tests of this process, before tests of others have a chance to get them.
const TURN: Duration = Duration::from_secs(1);

/// A leased database that holds what its template does, and a connection to it where one is kept.
pub(super) struct Clean<K: Kind> {
    pub(super) template: Arc<Template<K>>,
    pub(super) leased: Leased<K>,
    pub(super) kept: Option<KeptConnection<K>>,
}

/// What is kept.
pub(super) struct Kept<K: Kind>(Mutex<Inner<K>>);

struct Inner<K: Kind> {
    /// Places, each with the others of the same test, and since when this process has them.
    places: Vec<(Vec<String>, Instant)>,
    /// Databases, by the fingerprints of their templates, and whether only tests that roll back may have them.
    databases: HashMap<(String, bool), Vec<Clean<K>>>,
    /// Places that this process has, in use and kept.
    all_places: usize,
    /// Tests that use some of them.
    tests: usize,
    /// Counts what was put here, so that it is known whether something was since.
    puts: u64,
}

impl<K: Kind> Default for Kept<K> {
    fn default() -> Self {
        Self(Mutex::new(Inner {
            places: Vec::new(),
            databases: HashMap::new(),
            all_places: 0,
            tests: 0,
            puts: 0,
        }))
    }
}

impl<K: Kind> Kept<K> {
    /// So many places, if they are kept together.
    pub(super) fn take_places(&self, wanted: usize) -> Option<(Vec<String>, Instant)> {
        let places = &mut lock(&self.0).places;
        let at = places.iter().position(|(keys, _)| keys.len() == wanted)?;
        Some(places.swap_remove(at))
    }

    /// Notes that a test uses places.
    pub(super) fn use_places(&self) {
        lock(&self.0).tests += 1;
    }

    /// How many tests use places.
    pub(super) fn tests(&self) -> usize {
        lock(&self.0).tests
    }

    /// Notes that this process has taken places from the server.
    pub(super) fn add_places(&self, places: usize) {
        lock(&self.0).all_places += places;
    }

    /// A database, if one is kept.
    pub(super) fn take_database(&self, fingerprint: &str, rolled_back: bool) -> Option<Clean<K>> {
        let key = (fingerprint.to_owned(), rolled_back);
        lock(&self.0).databases.get_mut(&key)?.pop()
    }
}

impl<K: Kind> Inner<K> {
    /// Whether one more database can be kept with its connection. Those that are kept count as connections for which
    /// this process has places, and every test that runs needs at least one of them; but the one place of a test that rolls
    /// back and has just ended is that of its connection.
    fn has_room(&self, rolled_back: bool) -> bool {
        let kept: usize = self.databases.values().map(Vec::len).sum();
        let in_use = if rolled_back { 0 } else { self.tests };
        kept < self.all_places.saturating_sub(in_use)
    }
}

impl<K: Kind> Server<K> {
    /// Keeps places, or gives them back when their turn is over.
    pub(super) fn keep_places(self: &Arc<Self>, keys: Vec<String>, since: Instant) {
        let server = Arc::clone(self);
        lock(&self.kept.0).tests -= 1;
        if since.elapsed() > TURN {
            // The runtime is there: it has taken the places.
            let _ = background::spawn(async move {
                server.give_up_databases().await;
                server.unlock_places(&keys).await;
            });
            return;
        }
        lock(&self.kept.0).places.push((keys, since));
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
        let places = std::mem::take(&mut lock(&self.kept.0).places);
        self.give_up_databases().await;
        for (keys, _) in &places {
            self.unlock_places(keys).await;
        }
        !places.is_empty()
    }

    async fn give_up_databases(&self) {
        let databases = std::mem::take(&mut lock(&self.kept.0).databases);
        for ((_, rolled_back), databases) in databases {
            for clean in databases {
                if let Err(error) = self.give_up(clean, rolled_back).await {
                    tracing::debug!(%error, "a clean database could not be given up");
                }
            }
        }
    }

    async fn unlock_places(&self, keys: &[String]) {
        lock(&self.kept.0).all_places -= keys.len();
        let unlocked = async { Ok::<_, Error>(self.session().await?.unlock(keys).await?) };
        if let Err(error) = unlocked.await {
            tracing::warn!(%error, "places for connections could not be given back");
        }
        self.freed.notify_waiters();
    }
}
