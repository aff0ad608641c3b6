//! Retention: which databases are kept (`POOLHOUSE_KEEP`), and for how long.

use std::time::Duration;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use std::time::SystemTime;

/// How long an unused template stays. After that time, its source has most likely changed.
pub(super) const TEMPLATE_LIFE: Duration = Duration::from_hours(7 * 24);

/// How long a kept database stays on its server.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) const KEPT_FOR: Duration = Duration::from_hours(24);

/// The variable that selects the databases to keep: `all`, `failed` or `none`.
const VARIABLE: &str = "POOLHOUSE_KEEP";

/// Whether the database of a test that has ended is kept.
pub(super) fn is_kept(failed: bool) -> bool {
    match std::env::var(VARIABLE).as_deref() {
        Ok("all") => true,
        Ok("none") => false,
        Err(_) | Ok("" | "failed") => failed,
        Ok(other) => {
            // Only a message, because an error would fail passed tests.
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

/// Days since 1970, in which the last use of a template is noted.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) fn today() -> u64 {
    now() / Duration::from_hours(24).as_secs()
}

/// Whether a template that was last used on this day is removed.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) fn is_stale(day: u64) -> bool {
    day + TEMPLATE_LIFE.as_secs() / Duration::from_hours(24).as_secs() < today()
}

/// The beginning of a kept database's comment; the second since 1970 and the test follow.
#[cfg(feature = "postgres")]
pub(super) const KEPT: &str = "poolhouse kept";

/// The statement that marks a database as kept.
#[cfg(feature = "postgres")]
pub(super) fn mark(database: &str, test: &super::test::Test) -> String {
    let comment = crate::dialect::literal(&format!("{KEPT} {} {test}", now()));
    format!("COMMENT ON DATABASE {database} IS {comment}")
}

/// Reads a kept database's comment: the second since 1970, and the test.
#[cfg(feature = "postgres")]
pub(super) fn read(comment: &str) -> Option<(u64, &str)> {
    let (since, test) = comment.strip_prefix(KEPT)?.trim_start().split_once(' ')?;
    Some((since.parse().ok()?, test))
}
