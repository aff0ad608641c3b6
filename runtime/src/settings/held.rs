//! Tracks whether the transactions of a rollback test stay open until the test ends.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

use crate::lock::lock;

/// The transactions that hold the connections of a rollback test.
#[derive(Debug, Default)]
pub(crate) struct HeldTransactions {
    begun: AtomicUsize,
    lasted: AtomicUsize,
    has_ended: AtomicBool,
    is_lost: AtomicBool,
    /// The last statement, of those that the engine ran, that may have ended a transaction.
    statement: Mutex<Option<String>>,
}

/// The outcome of a test's transactions.
#[cfg(feature = "testing")]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// All stayed open until their connections closed.
    ToTheEnd,
    /// Some are unknown, because their connections broke.
    Unknown,
    /// One ended before its connection closed, with this statement if it is known.
    Ended(Option<String>),
}

impl HeldTransactions {
    /// Counts a transaction that has begun on a connection.
    pub(crate) fn begun(&self) {
        self.begun.fetch_add(1, Relaxed);
    }

    /// Counts a transaction that stayed open until its connection closed.
    pub(crate) fn lasted(&self) {
        self.lasted.fetch_add(1, Relaxed);
    }

    /// Records that a transaction ended before its connection closed.
    pub(crate) fn ended(&self) {
        self.has_ended.store(true, Relaxed);
    }

    /// Records that a connection ended together with its transaction. In a test that continues, its writes are gone.
    pub(crate) fn lose(&self) {
        self.is_lost.store(true, Relaxed);
    }

    /// Whether a transaction is not known to have stayed open.
    pub(crate) fn is_open(&self) -> bool {
        self.begun.load(Relaxed) > self.lasted.load(Relaxed)
    }

    /// Whether the test's writes are gone.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost.load(Relaxed)
    }

    /// Records a statement that may end a transaction.
    pub(crate) fn note(&self, sql: &str) {
        *self.statement() = Some(sql.to_owned());
    }

    #[cfg(feature = "testing")]
    /// The outcome of the transactions, once the connections are closed.
    pub(crate) fn outcome(&self) -> Held {
        if self.has_ended.load(Relaxed) {
            Held::Ended(self.statement().take())
        } else if self.begun.load(Relaxed) == self.lasted.load(Relaxed) {
            Held::ToTheEnd
        } else {
            Held::Unknown
        }
    }

    fn statement(&self) -> MutexGuard<'_, Option<String>> {
        lock(&self.statement)
    }
}
