//! As much of SQL as the pool reads: the first word of a statement.

/// The words that begin a statement which ends a transaction by itself, on any of the databases, or may end it.
const CONTROL: [&str; 29] = [
    // Not of MySQL and MariaDB.
    "END",
    "ABORT",
    "COMMIT",
    "ROLLBACK",
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
    // Some statements that begin so do, and others do not.
    "PREPARE",
    "LOAD",
    "RESET",
    "SET",
    "CHANGE",
];

/// Those that begin most statements, and end no transaction.
const PLAIN: [&str; 5] = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"];

/// Those that always do on MySQL and MariaDB: <https://mariadb.com/kb/en/sql-statements-that-cause-an-implicit-commit/>.
pub(super) const ENDS_ON_MYSQL: &[&str] = CONTROL.split_at(2).1.split_at(22).0;

/// Which statements were seen that may end a transaction by themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Controls(u32);

impl Controls {
    /// Those of a text.
    pub(crate) fn of(sql: &str) -> Self {
        // Nearly every statement, and this is done for each one.
        if is_one_of(first_word(sql), &PLAIN) && !sql.as_bytes().contains(&b';') {
            return Self::default();
        }
        let mut seen = 0;
        for statement in sql.split(';') {
            let word = first_word(statement);
            if let Some(index) = CONTROL
                .iter()
                .position(|control| word.eq_ignore_ascii_case(control))
                && !(is_one_of(word, &["ROLLBACK"]) && names_a_savepoint(statement))
            {
                seen |= 1 << index;
            }
        }
        Self(seen)
    }

    /// Adds what was seen later.
    pub(crate) fn add(&mut self, later: Self) {
        self.0 |= later.0;
    }

    /// Whether one was seen.
    pub(crate) fn is_any(self) -> bool {
        self.0 != 0
    }

    /// Whether one was seen that begins a transaction, without the driver's knowledge.
    pub(crate) fn begin_transaction(self) -> bool {
        self.first_of(&["BEGIN", "START", "XA"]).is_some()
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
#[cfg(feature = "postgres")]
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
    leading_word(sql)
}

/// The ASCII letters that a text begins with.
pub(crate) fn leading_word(text: &str) -> &str {
    let end = text.bytes().position(|byte| !byte.is_ascii_alphabetic());
    &text[..end.unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_transaction_is_known_from_what_does_not() {
        for (sql, seen) in [
            ("INSERT INTO a VALUES (1)", None),
            ("ROLLBACK TO SAVEPOINT a", None),
            ("rollback work to a", None),
            ("ROLLBACK", Some("ROLLBACK")),
            ("SELECT 1; /* now */ commit", Some("COMMIT")),
            ("-- a table\ncreate table a (id int)", Some("CREATE")),
        ] {
            assert_eq!(Controls::of(sql).first_of(&CONTROL), seen, "{sql}");
            assert_eq!(Controls::of(sql).is_any(), seen.is_some(), "{sql}");
        }
        assert!(Controls::of("SELECT 1; begin").begin_transaction());
        assert!(!Controls::of("COMMIT").begin_transaction());
        assert_eq!(ENDS_ON_MYSQL.first(), Some(&"COMMIT"));
        assert_eq!(ENDS_ON_MYSQL.last(), Some(&"UNINSTALL"));
    }
}
