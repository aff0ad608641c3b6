//! What is kept: whose database (`POOLHOUSE_KEEP`), for how long, and what its comment says.

use std::time::Duration;

#[cfg(feature = "postgres")]
use super::calendar::now;
#[cfg(feature = "postgres")]
use super::test::Test;

/// A template that no test has used for so long is removed: the source that it was made of has changed.
pub(super) const TEMPLATE_LIFE: Duration = Duration::from_hours(7 * 24);

/// The same in days, for what is dated with a day.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) const TEMPLATE_DAYS: u64 = TEMPLATE_LIFE.as_secs() / Duration::from_hours(24).as_secs();

/// The database of a failed test is kept for so long.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) const KEEP: Duration = Duration::from_hours(24);

/// What the comment on a kept database begins with; the second since 1970 follows, and the test.
#[cfg(feature = "postgres")]
pub(super) const KEPT: &str = "poolhouse kept";

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

/// The statement that marks a database for a person, who finds it until the next day.
#[cfg(feature = "postgres")]
pub(super) fn mark(database: &str, test: &Test) -> String {
    let comment = format!("{KEPT} {} {test}", now()).replace('\'', "''");
    format!("COMMENT ON DATABASE {database} IS '{comment}'")
}

/// Whether nobody looks at a kept database any more: it is old, or the same test has failed again.
#[cfg(feature = "postgres")]
pub(super) fn is_forgotten<'a>(comment: &str, mut all: impl Iterator<Item = &'a str>) -> bool {
    let Some((since, test)) = read(comment) else {
        return true;
    };
    let again = all.any(|other| read(other).is_some_and(|(other, of)| of == test && other > since));
    again || since + KEEP.as_secs() < now()
}

/// When a database was kept, and of which test.
#[cfg(feature = "postgres")]
fn read(comment: &str) -> Option<(u64, &str)> {
    let (since, test) = comment.strip_prefix(KEPT)?.trim_start().split_once(' ')?;
    Some((since.parse().ok()?, test))
}
