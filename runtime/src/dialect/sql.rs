//! As much of SQL as the pool reads: the first word of a statement.

/// Whether a statement, or one of several, begins a transaction without the driver's knowledge.
pub(crate) fn begins_transaction(sql: &str) -> bool {
    first_words(sql).any(|word| is_one_of(word, &["BEGIN", "START", "XA"]))
}

/// The first word of each statement. A semicolon inside a text or a function's body ends a statement here too.
pub(crate) fn first_words(sql: &str) -> impl Iterator<Item = &str> {
    sql.split(';').map(first_word)
}

/// Whether a word is one of these, which are in capitals.
pub(crate) fn is_one_of(word: &str, keywords: &[&str]) -> bool {
    keywords
        .iter()
        .any(|keyword| word.eq_ignore_ascii_case(keyword))
}

/// The first word after white space and comments.
fn first_word(mut sql: &str) -> &str {
    loop {
        sql = sql.trim_start();
        let rest = if let Some(comment) = sql.strip_prefix("--") {
            comment.split_once('\n').map_or("", |(_, rest)| rest)
        } else if let Some(comment) = sql.strip_prefix("/*") {
            comment.split_once("*/").map_or("", |(_, rest)| rest)
        } else {
            break;
        };
        sql = rest;
    }
    let end = sql
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(sql.len());
    &sql[..end]
}
