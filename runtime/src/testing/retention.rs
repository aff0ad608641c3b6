//! Retention: which databases are kept (`POOLHOUSE_KEEP`), and for how long.

#[cfg(any(feature = "postgres", feature = "mysql"))]
use std::fmt;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use std::sync::LazyLock;
use std::time::Duration;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use std::time::SystemTime;

#[cfg(any(feature = "postgres", feature = "mysql"))]
use super::test::Test;

/// How long an unused template stays. After that time, its source has most likely changed.
pub(super) const TEMPLATE_LIFE: Duration = Duration::from_hours(7 * 24);

/// How long a kept database stays on its server.
#[cfg(any(feature = "postgres", feature = "mysql"))]
const KEPT_FOR: Duration = Duration::from_hours(24);

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

/// This run: this process, or all processes of one `cargo nextest run`.
#[cfg(any(feature = "postgres", feature = "mysql"))]
static RUN: LazyLock<String> = LazyLock::new(|| {
    // <https://nexte.st/docs/configuration/env-vars/>
    let nextest = std::env::var("NEXTEST_RUN_ID").ok();
    let is_id =
        |id: &String| !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    nextest
        .filter(is_id)
        .unwrap_or_else(|| format!("{:016x}", fastrand::u64(..)))
});

/// The test of a kept database, and the run in which it failed.
#[cfg(any(feature = "postgres", feature = "mysql"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeptTest {
    run: String,
    test: String,
}

#[cfg(any(feature = "postgres", feature = "mysql"))]
impl KeptTest {
    /// A test of this run.
    pub(super) fn now(test: &Test) -> Self {
        Self {
            run: RUN.clone(),
            test: test.to_string(),
        }
    }

    /// Reads what [`Display`](fmt::Display) writes; `None` for the marks of older versions.
    pub(super) fn parse(mark: &str) -> Option<Self> {
        let (run, test) = mark.split_once(' ')?;
        Some(Self {
            run: run.to_owned(),
            test: test.to_owned(),
        })
    }

    /// Whether this test has failed again, as the other. In one run, several cases of a test may have its name.
    fn is_failed_again(&self, other: &Self) -> bool {
        self.test == other.test && self.run != other.run
    }
}

#[cfg(any(feature = "postgres", feature = "mysql"))]
impl fmt::Display for KeptTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.run, self.test)
    }
}

/// Whether a kept database is removed: it is kept since a second that is long ago, or its test has failed again, as one of the
/// kept databases shows.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) fn is_past(
    since: u64,
    test: Option<&KeptTest>,
    mut kept: impl Iterator<Item = (u64, Option<KeptTest>)>,
) -> bool {
    let is_again = |test: &KeptTest| {
        kept.any(|(later, other)| {
            later > since && other.is_some_and(|other| test.is_failed_again(&other))
        })
    };
    since + KEPT_FOR.as_secs() < now() || test.is_some_and(is_again)
}

/// The beginning of a kept database's comment; the second since 1970 and the [`KeptTest`] follow.
#[cfg(feature = "postgres")]
pub(super) const KEPT: &str = "poolhouse kept";

/// The statement that marks a database as kept.
#[cfg(feature = "postgres")]
pub(super) fn mark(database: &str, test: &Test) -> String {
    let comment = format!("{KEPT} {} {}", now(), KeptTest::now(test));
    let comment = crate::dialect::literal(&comment);
    format!("COMMENT ON DATABASE {database} IS {comment}")
}

/// Reads a kept database's comment: the second since 1970, and the test if the comment has its run.
#[cfg(feature = "postgres")]
pub(super) fn read(comment: &str) -> Option<(u64, Option<KeptTest>)> {
    let (since, test) = comment.strip_prefix(KEPT)?.trim_start().split_once(' ')?;
    Some((since.parse().ok()?, KeptTest::parse(test)))
}

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read() {
        let test = Test::new("app::bands::adds");
        let mark = mark("a", &test);
        let (_, comment) = mark.split_once('\'').unwrap();
        let (since, kept) = read(comment.trim_end_matches('\'')).unwrap();
        assert!(since > 0);
        assert_eq!(kept, Some(KeptTest::now(&test)));
        // Of an older version, without the run.
        assert_eq!(read("poolhouse kept 5 app::bands::adds"), Some((5, None)));
    }
}
