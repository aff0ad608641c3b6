//! Retention: which test's database is kept (`POOLHOUSE_KEEP`), and for how long anything stays.

use std::time::Duration;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use std::time::SystemTime;

/// A template that no test has used for so long is removed: the source that it was made of has changed.
pub(super) const TEMPLATE_LIFE: Duration = Duration::from_hours(7 * 24);

/// The database of a failed test is kept for so long.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) const KEPT_FOR: Duration = Duration::from_hours(24);

/// The variable that says whose database is kept.
const VARIABLE: &str = "POOLHOUSE_KEEP";

/// Whether the database of a test that has ended is kept.
pub(super) fn is_kept(failed: bool) -> bool {
    match std::env::var(VARIABLE).as_deref() {
        Ok("all") => true,
        Ok("none") => false,
        Err(_) | Ok("" | "failed") => failed,
        Ok(other) => {
            // Not an error: that would fail tests which have passed.
            eprintln!(
                "poolhouse: {VARIABLE}={other} is neither all, failed nor none; it counts as failed"
            );
            failed
        }
    }
}

/// Seconds since 1970.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

/// Days since 1970: a template's age is the time since it was last used.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) fn today() -> u64 {
    now() / Duration::from_hours(24).as_secs()
}

/// Whether a template that was last used on this day is removed.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) fn is_stale(day: u64) -> bool {
    day + TEMPLATE_LIFE.as_secs() / Duration::from_hours(24).as_secs() < today()
}

/// What the comment on a kept database begins with; the second since 1970 follows, and the test.
#[cfg(feature = "postgres")]
pub(super) const KEPT: &str = "poolhouse kept";

/// The statement that marks a database as kept.
#[cfg(feature = "postgres")]
pub(super) fn mark(database: &str, test: &super::test::Test) -> String {
    let comment = format!("{KEPT} {} {test}", now()).replace('\'', "''");
    format!("COMMENT ON DATABASE {database} IS '{comment}'")
}

/// When a database was kept, and of which test.
#[cfg(feature = "postgres")]
pub(super) fn read(comment: &str) -> Option<(u64, &str)> {
    let (since, test) = comment.strip_prefix(KEPT)?.trim_start().split_once(' ')?;
    Some((since.parse().ok()?, test))
}
