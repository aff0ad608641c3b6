//! As much of SQL as the pool reads: the first word of a statement.

/// Whether a statement, or one of several, begins a transaction without the driver's knowledge.
pub(crate) fn begins_transaction(sql: &str) -> bool {
    first_words(sql).any(|word| is_one_of(word, &["BEGIN", "START", "XA"]))
}

/// The words that begin a statement which ends a transaction by itself, on any of the databases.
const CONTROL: [&str; 24] = [
    "COMMIT",
    "ROLLBACK",
    "END",
    "ABORT",
    "BEGIN",
    "START",
    "XA",
    "CREATE",
    "ALTER",
    "DROP",
    "RENAME",
    "TRUNCATE",
    "GRANT",
    "REVOKE",
    "LOCK",
    "UNLOCK",
    "ANALYZE",
    "CHECK",
    "FLUSH",
    "OPTIMIZE",
    "REPAIR",
    "CACHE",
    "INSTALL",
    "UNINSTALL",
];

/// Which statements were seen that may end a transaction by themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Controls(u32);

impl Controls {
    /// Adds those of a text.
    pub(crate) fn note(&mut self, sql: &str) {
        for statement in sql.split(';') {
            let word = first_word(statement);
            if let Some(index) = CONTROL
                .iter()
                .position(|control| word.eq_ignore_ascii_case(control))
                && !(is_one_of(word, &["ROLLBACK"]) && names_a_savepoint(statement))
            {
                self.0 |= 1 << index;
            }
        }
    }

    /// The first of these words that was seen.
    pub(crate) fn first_of(self, words: &[&'static str]) -> Option<&'static str> {
        words.iter().copied().find(|word| {
            let index = CONTROL.iter().position(|control| control == word);
            index.is_some_and(|index| self.0 & (1 << index) != 0)
        })
    }
}

/// Whether a `ROLLBACK` goes to a savepoint.
fn names_a_savepoint(rollback: &str) -> bool {
    rollback
        .split_whitespace()
        .any(|word| word.eq_ignore_ascii_case("TO"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_transaction_is_told_from_what_does_not() {
        for (sql, seen) in [
            ("INSERT INTO a VALUES (1)", None),
            ("ROLLBACK TO SAVEPOINT a", None),
            ("rollback work to a", None),
            ("ROLLBACK", Some("ROLLBACK")),
            ("SELECT 1; /* now */ commit", Some("COMMIT")),
            ("-- a table\ncreate table a (id int)", Some("CREATE")),
        ] {
            let mut controls = Controls::default();
            controls.note(sql);
            assert_eq!(controls.first_of(&CONTROL), seen, "{sql}");
        }
    }
}
