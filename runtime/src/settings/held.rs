//! Whether the transactions of a test that rolls back have lasted as long as the test.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

use crate::lock::lock;

/// The transactions that the connections of a test are held in.
#[derive(Debug, Default)]
pub(crate) struct HeldTransactions {
    begun: AtomicUsize,
    lasted: AtomicUsize,
    has_ended: AtomicBool,
    is_lost: AtomicBool,
    /// The last statement that may have ended one, as far as the engine ran it.
    statement: Mutex<Option<String>>,
}

/// What became of the transactions of a test.
#[cfg(feature = "testing")]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// All of them have lasted to the end of their connections.
    ToTheEnd,
    /// Of some it is not known, because their connections have broken.
    Unknown,
    /// One has ended before, with this statement if that is known.
    Ended(Option<String>),
}

impl HeldTransactions {
    /// Notes that a connection is in a transaction from now on.
    pub(crate) fn begun(&self) {
        self.begun.fetch_add(1, Relaxed);
    }

    /// Notes that the transaction of a connection has lasted to its end.
    pub(crate) fn lasted(&self) {
        self.lasted.fetch_add(1, Relaxed);
    }

    /// Notes that the transaction of a connection has ended before.
    pub(crate) fn ended(&self) {
        self.has_ended.store(true, Relaxed);
    }

    /// Notes that a connection has ended, and its transaction with it. In a test that goes on, what it had written is gone.
    pub(crate) fn lose(&self) {
        self.is_lost.store(true, Relaxed);
    }

    /// Whether there is a connection of which it is not known that its transaction has lasted.
    pub(crate) fn is_open(&self) -> bool {
        self.begun.load(Relaxed) > self.lasted.load(Relaxed)
    }

    /// Whether what the test had written is gone.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost.load(Relaxed)
    }

    /// Notes a statement that may end a transaction.
    pub(crate) fn note(&self, sql: &str) {
        *self.statement() = Some(sql.to_owned());
    }

    #[cfg(feature = "testing")]
    /// What became of the transactions, once the connections are closed.
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
