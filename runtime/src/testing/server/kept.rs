//! What this process keeps from one test to the next: slots of the server, and clean databases with their connections.
//!
//! A test that begins right after another one then asks the server for nothing. What no test has taken for a moment goes
//! back, so that other processes get it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::connection::KeptConnection;
use super::kind::Kind;
use super::leased::Leased;
use super::template::Template;
use crate::lock::lock;

/// How much time may be lost by taking a test for the last one of its process that is not: so much, and a sixteenth of the whole.
const LOSS: Duration = Duration::from_millis(100);

/// A leased database that holds what its template does, and a connection to it where one is kept.
pub(super) struct Clean<K: Kind> {
    pub(super) template: Arc<Template<K>>,
    pub(super) leased: Leased<K>,
    pub(super) kept: Option<KeptConnection<K>>,
}

/// What is kept.
pub(super) struct Kept<K: Kind>(pub(super) Mutex<KeptNow<K>>);

/// What is kept at one moment.
pub(super) struct KeptNow<K: Kind> {
    /// Slots, each with the others of the same test, and since when this process has them.
    pub(super) slots: Vec<(Vec<String>, Instant)>,
    /// Databases, by the fingerprints of their templates, and whether only tests that roll back may have them.
    pub(super) databases: HashMap<(String, bool), Vec<Clean<K>>>,
    /// Slots that this process has, in use and kept.
    pub(super) all_slots: usize,
    /// Tests that use some of them.
    pub(super) tests: usize,
    /// Whether there have been several such tests at a time.
    pub(super) ran_side_by_side: bool,
    /// The time that was spent on tests that were taken for the last one.
    pub(super) lost: Duration,
    /// Since when that is counted.
    pub(super) lost_since: Instant,
    /// Counts what was put here, so that it is known whether something was since.
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
    /// So many slots, if they are kept together.
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

    /// Whether databases in which tests have rolled back would be left if the process ended now. In one that runs its tests one
    /// after another any of them may be the last, and one such database is left.
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

    /// Notes that time was spent on a test that was taken for the last one.
    pub(super) fn add_lost(&self, time: Duration) {
        lock(&self.0).lost += time;
    }

    /// Whether so much was lost by that that no further test is taken for the last one.
    pub(super) fn has_lost_too_much(&self) -> bool {
        let kept = lock(&self.0);
        kept.lost > LOSS + kept.lost_since.elapsed() / 16
    }

    /// Notes that this process has taken slots from the server.
    pub(super) fn add_slots(&self, slots: usize) {
        lock(&self.0).all_slots += slots;
    }

    /// A database, if one is kept.
    pub(super) fn take_database(&self, fingerprint: &str, rolled_back: bool) -> Option<Clean<K>> {
        let key = (fingerprint.to_owned(), rolled_back);
        lock(&self.0).databases.get_mut(&key)?.pop()
    }
}

impl<K: Kind> KeptNow<K> {
    /// Whether one more database can be kept with its connection. Those that are kept count as connections for which
    /// this process has slots, and every test that runs needs at least one of them; but the one slot of a test that rolls
    /// back and has just ended is that of its connection.
    pub(super) fn has_room(&self, rolled_back: bool) -> bool {
        let kept: usize = self.databases.values().map(Vec::len).sum();
        let in_use = if rolled_back { 0 } else { self.tests };
        kept < self.all_slots.saturating_sub(in_use)
    }
}
