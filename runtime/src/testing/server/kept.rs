//! The slots and clean databases, with their connections, that this process keeps from test to test.
//!
//! A test that begins right after another one then need not ask the server for slots or a database. Slots and databases
//! that no test takes for a moment are given up, so that other processes get them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::connection::KeptConnection;
use super::kind::Kind;
use super::leased::Leased;
use super::template::Template;
use crate::lock::lock;

/// How much time may be lost on tests wrongly taken for the last one of their process: this, and a sixteenth of the whole.
const LOSS: Duration = Duration::from_millis(100);

/// A leased database with its template's content, and a connection to the database if one is kept.
pub(super) struct Clean<K: Kind> {
    pub(super) template: Arc<Template<K>>,
    pub(super) leased: Leased<K>,
    pub(super) kept: Option<KeptConnection<K>>,
}

impl<K: Kind> Clean<K> {
    /// Checks whether the kept connection is like new.
    pub(super) async fn check_connection(mut self) -> Self {
        if let Some(kept) = &mut self.kept {
            kept.check(&self.template.content, &self.leased.since).await;
        }
        self
    }
}

/// The kept slots and databases.
pub(super) struct Kept<K: Kind>(pub(super) Mutex<KeptNow<K>>);

/// The kept slots and databases, under the lock of [`Kept`].
pub(super) struct KeptNow<K: Kind> {
    /// Slots, in one group for each test, and since when this process has them.
    pub(super) slots: Vec<(Vec<String>, Instant)>,
    /// Databases, by the fingerprint of their template, and whether only tests that roll back may use them.
    pub(super) databases: HashMap<(String, bool), Vec<Clean<K>>>,
    /// Slots that this process has, in use and kept.
    pub(super) all_slots: usize,
    /// Tests that use slots.
    pub(super) tests: usize,
    /// Whether several tests have used slots at the same time.
    pub(super) ran_side_by_side: bool,
    /// The time that was lost on tests that were taken for the last one.
    pub(super) lost: Duration,
    /// Since when the lost time is counted.
    pub(super) lost_since: Instant,
    /// Counts the additions, to tell whether there was one since.
    pub(super) puts: u64,
}

impl<K: Kind> Default for Kept<K> {
    fn default() -> Self {
        Self(Mutex::new(KeptNow {
            slots: Vec::new(),
            databases: HashMap::new(),
            all_slots: 0,
            tests: 0,
            ran_side_by_side: false,
            lost: Duration::ZERO,
            lost_since: Instant::now(),
            puts: 0,
        }))
    }
}

impl<K: Kind> Kept<K> {
    /// Takes a group of this many slots, if one is kept.
    pub(super) fn take_slots(&self, wanted: usize) -> Option<(Vec<String>, Instant)> {
        let slots = &mut lock(&self.0).slots;
        let at = slots.iter().position(|(keys, _)| keys.len() == wanted)?;
        Some(slots.swap_remove(at))
    }

    /// Notes that a test uses slots.
    pub(super) fn use_slots(&self) {
        let mut kept = lock(&self.0);
        kept.tests += 1;
        kept.ran_side_by_side |= kept.tests > 1;
    }

    /// Whether databases in which tests have rolled back would be left if the process ended now. A process that runs its
    /// tests in sequence is excepted: each of them may be the last, and only one such database is left.
    pub(super) fn may_leave_rolled_back(&self) -> bool {
        let kept = lock(&self.0);
        let mut rolled_back = kept
            .databases
            .iter()
            .filter(|((_, rolled_back), _)| *rolled_back);
        kept.ran_side_by_side && rolled_back.any(|(_, databases)| !databases.is_empty())
    }

    /// How many tests use slots.
    pub(super) fn tests(&self) -> usize {
        lock(&self.0).tests
    }

    /// Notes that time was lost on a test that was taken for the last one.
    pub(super) fn add_lost(&self, time: Duration) {
        lock(&self.0).lost += time;
    }

    /// Whether so much time was lost that no further test is taken for the last one.
    pub(super) fn has_lost_too_much(&self) -> bool {
        let kept = lock(&self.0);
        kept.lost > LOSS + kept.lost_since.elapsed() / 16
    }

    /// Notes that this process has taken slots from the server.
    pub(super) fn add_slots(&self, slots: usize) {
        lock(&self.0).all_slots += slots;
    }

    /// Takes a database, if one is kept.
    pub(super) fn take_database(&self, fingerprint: &str, rolled_back: bool) -> Option<Clean<K>> {
        let key = (fingerprint.to_owned(), rolled_back);
        lock(&self.0).databases.get_mut(&key)?.pop()
    }
}

impl<K: Kind> KeptNow<K> {
    /// Whether one more database can be kept with its connection. Each kept database takes one of this process's slots for
    /// its connection, and each running test needs at least one. The latter does not count after a rollback, where the
    /// connection already has the slot of its test.
    pub(super) fn has_room(&self, rolled_back: bool) -> bool {
        let kept: usize = self.databases.values().map(Vec::len).sum();
        let in_use = if rolled_back { 0 } else { self.tests };
        kept < self.all_slots.saturating_sub(in_use)
    }
}
