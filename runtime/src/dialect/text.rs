//! SQL as text: on one line for logs and errors, and literals.

/// A statement on one line, for display.
pub(crate) fn one_line(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A statement on one line, cut after this many characters, for display.
pub(crate) fn short_line(sql: &str, characters: usize) -> String {
    let mut line = one_line(sql);
    if let Some((end, _)) = line.char_indices().nth(characters) {
        line.truncate(end);
        line.push('…');
    }
    line
}

/// A text as a literal of standard SQL, in which a backslash has no meaning. MySQL and MariaDB differ.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
