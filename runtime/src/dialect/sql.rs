//! The first words of SQL statements, which is all of SQL that the pool reads.

/// The first words of statements that end a transaction by themselves, or may end it, on any of the databases.
const CONTROL: [&str; 33] = [
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
    // The statements of a routine or of a prepared statement may.
    "CALL",
    "EXECUTE",
    // Only some statements with these words end a transaction.
    "PREPARE",
    "LOAD",
    "RESET",
    "SET",
    "CHANGE",
    "SAVEPOINT",
    // No first word: it is for a `SET` of this variable.
    AUTOCOMMIT,
];

/// The variable of MySQL and MariaDB by which each statement begins a transaction, or ends its own.
const AUTOCOMMIT: &str = "AUTOCOMMIT";

/// The first words of most statements, which end no transaction.
const PLAIN: [&str; 5] = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"];

/// The words of [`CONTROL`] that end a transaction on MySQL and MariaDB, or run statements that may:
/// <https://mariadb.com/kb/en/sql-statements-that-cause-an-implicit-commit/>.
pub(super) const ENDS_ON_MYSQL: &[&str] = CONTROL.split_at(2).1.split_at(24).0;

/// The words of statements that begin a transaction, which the driver does not count.
pub(super) const BEGINS: &[&str] = &["BEGIN", "START", "XA"];

/// As [`BEGINS`] on MySQL and MariaDB, with those of a routine and of a prepared statement, which may begin one, and with the
/// variable after whose change any statement does.
pub(super) const BEGINS_ON_MYSQL: &[&str] =
    &["BEGIN", "START", "XA", "CALL", "EXECUTE", AUTOCOMMIT];

/// As [`BEGINS`] on SQLite, where a savepoint outside of a transaction begins one:
/// <https://www.sqlite.org/lang_savepoint.html>.
pub(super) const BEGINS_ON_SQLITE: &[&str] = &["BEGIN", "SAVEPOINT"];

/// The statements seen that may end a transaction by themselves, as one bit for each word of [`CONTROL`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Controls {
    seen: u64,
    /// Those that are statements for certain, and not a part of a text or of a function's body.
    certain: u64,
}

impl Controls {
    /// Reads the statements of a text.
    pub(crate) fn of(sql: &str) -> Self {
        // A fast path for nearly every statement, because this runs for each one.
        let (first, executed) = first_and_executed(sql);
        if is_one_of(first, &PLAIN) && executed.is_empty() && !sql.as_bytes().contains(&b';') {
            return Self::default();
        }
        let is_simple =
            !sql.contains(['\'', '"', '`', '$', '#']) && !sql.contains("--") && !sql.contains("/*");
        let mut controls = Self::default();
        for (number, statement) in sql.split(';').enumerate() {
            let (word, executed) = first_and_executed(statement);
            controls.see(word, statement, number == 0 || is_simple);
            // Not certain: other databases skip the comment.
            controls.see(executed, statement, false);
        }
        controls
    }

    /// Notes a statement with this first word.
    fn see(&mut self, word: &str, statement: &str, is_certain: bool) {
        let index = CONTROL
            .iter()
            .position(|control| word.eq_ignore_ascii_case(control));
        let Some(index) = index else { return };
        if (is_one_of(word, &["ROLLBACK"]) && names_a_savepoint(statement))
            || (is_one_of(word, &["CREATE", "DROP"]) && names_temporary_table(statement))
        {
            return;
        }
        self.seen |= 1 << index;
        if is_one_of(word, &["SET"]) && names_autocommit(statement) {
            self.seen |= 1 << (CONTROL.len() - 1);
        }
        if is_certain {
            self.certain |= 1 << index;
        }
    }

    /// Adds the statements that were seen later.
    pub(crate) fn add(&mut self, later: Self) {
        self.seen |= later.seen;
        self.certain |= later.certain;
    }

    /// Whether such a statement was seen.
    pub(crate) fn is_any(self) -> bool {
        self.seen != 0
    }

    /// The first of these words that was seen.
    pub(crate) fn first_of(self, words: &[&'static str]) -> Option<&'static str> {
        first_in(self.seen, words)
    }

    /// The first of these words that was a statement for certain.
    pub(crate) fn first_certain_of(self, words: &[&'static str]) -> Option<&'static str> {
        first_in(self.certain, words)
    }
}

/// A query whose answer is a text.
pub(crate) fn echo(text: &str) -> String {
    format!("SELECT '{text}'")
}

/// The first of these words whose bit is set.
fn first_in(bits: u64, words: &[&'static str]) -> Option<&'static str> {
    words.iter().copied().find(|word| {
        let index = CONTROL.iter().position(|control| control == word);
        index.is_some_and(|index| bits & (1 << index) != 0)
    })
}

/// Whether a `ROLLBACK` goes to a savepoint.
fn names_a_savepoint(rollback: &str) -> bool {
    rollback
        .split_whitespace()
        .any(|word| word.eq_ignore_ascii_case("TO"))
}

/// Whether a `SET` has the variable `autocommit` in it.
fn names_autocommit(set: &str) -> bool {
    set.to_ascii_uppercase().contains(AUTOCOMMIT)
}

/// Whether a definition is of a temporary table, which commits nothing on MySQL and MariaDB.
fn names_temporary_table(definition: &str) -> bool {
    let mut words = definition.split_whitespace().skip(1);
    words
        .next()
        .is_some_and(|word| is_one_of(word, &["TEMPORARY"]))
}

/// The first word of each statement. A semicolon inside a string or a function's body ends a statement here too.
#[cfg(feature = "postgres")]
pub(crate) fn first_words(sql: &str) -> impl Iterator<Item = &str> {
    sql.split(';')
        .map(|statement| first_and_executed(statement).0)
}

/// Whether a word is one of these keywords, in any case.
pub(crate) fn is_one_of(word: &str, keywords: &[&str]) -> bool {
    keywords
        .iter()
        .any(|keyword| word.eq_ignore_ascii_case(keyword))
}

/// The first word after white space and comments, and that of a comment before it which MySQL and MariaDB execute: with `/*!` or
/// `/*M!` at its begin. There a comment may also begin with `#`, with which no statement of another database begins:
/// <https://mariadb.com/kb/en/comment-syntax/>.
fn first_and_executed(mut sql: &str) -> (&str, &str) {
    let mut executed = "";
    loop {
        sql = sql.trim_start();
        let line = sql.strip_prefix("--").or_else(|| sql.strip_prefix('#'));
        let rest = if let Some(comment) = line {
            comment.split_once('\n').map_or("", |(_, rest)| rest)
        } else if let Some(comment) = sql.strip_prefix("/*") {
            let content = comment.strip_prefix("M!").or(comment.strip_prefix('!'));
            if let Some(content) = content.filter(|_| executed.is_empty()) {
                let digits = |character: char| character.is_ascii_digit();
                executed = leading_word(content.trim_start_matches(digits).trim_start());
            }
            comment.split_once("*/").map_or("", |(_, rest)| rest)
        } else {
            break;
        };
        sql = rest;
    }
    (leading_word(sql), executed)
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
        for (sql, certain) in [
            ("COMMIT", Some("COMMIT")),
            ("SELECT 1; COMMIT", Some("COMMIT")),
            ("DO $$ BEGIN RAISE EXCEPTION 'a'; END $$", None),
            ("SELECT 'a; COMMIT'", None),
            ("SELECT 1 -- ; COMMIT", None),
            ("CREATE TABLE a (b TEXT DEFAULT ';')", Some("CREATE")),
            ("CREATE TEMPORARY TABLE a (id INTEGER)", None),
        ] {
            assert_eq!(
                Controls::of(sql).first_certain_of(&CONTROL),
                certain,
                "{sql}"
            );
        }
        let begins = |sql, words| Controls::of(sql).first_of(words).is_some();
        assert!(begins("SELECT 1; begin", BEGINS));
        assert!(!begins("COMMIT", BEGINS));
        assert!(begins("call p()", BEGINS_ON_MYSQL) && !begins("call p()", BEGINS));
        assert_eq!(ENDS_ON_MYSQL.first(), Some(&"COMMIT"));
        assert_eq!(ENDS_ON_MYSQL.last(), Some(&"EXECUTE"));
        for sql in [
            "SET @@session.autocommit = 0",
            "# off\nSET autocommit = 0",
            "/*!40101 SET autocommit=0 */",
            "/*M! SET autocommit=0 */",
        ] {
            assert!(begins(sql, BEGINS_ON_MYSQL), "{sql}");
        }
        assert!(begins("/*! import */ BEGIN", BEGINS));
        assert!(begins("/*! select */ BEGIN", BEGINS));
        assert!(!begins("SET sql_mode = ''", BEGINS_ON_MYSQL));
        assert!(!begins("SELECT @@autocommit", BEGINS_ON_MYSQL));
        assert!(begins("savepoint a", BEGINS_ON_SQLITE) && !begins("savepoint a", BEGINS));
    }
}
