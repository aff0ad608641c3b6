//! The text of errors.

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
