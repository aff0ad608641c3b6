//! The text of errors, and of the same values in logs.

use std::time::Duration;

use humantime::FormattedDuration;

/// Capitalizes the first letter of a clause.
pub(super) fn sentence(clause: &str) -> String {
    let mut letters = clause.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

/// A remark in parentheses, if there is one.
pub(super) fn in_parentheses(remark: Option<&str>) -> String {
    remark
        .map(|remark| format!(" ({remark})"))
        .unwrap_or_default()
}

/// A duration in whole milliseconds, for display.
pub(crate) fn whole_millis(duration: Duration) -> FormattedDuration {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    humantime::format_duration(Duration::from_millis(millis))
}
