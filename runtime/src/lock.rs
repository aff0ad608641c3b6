//! Taking a lock that no panic leaves half-changed.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex. Under none of the locks that are taken here does anything panic, so that there is no poison to heed.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
