//! The time of day, as the names and comments of databases have it.

use std::time::{Duration, SystemTime};

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

/// Days since 1970: a template's age is the time since it was last used.
pub(super) fn today() -> u64 {
    now() / Duration::from_hours(24).as_secs()
}
