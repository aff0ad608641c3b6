//! The first words of SQL statements, which is all of SQL that the pool reads.

/// The first words of statements that end a transaction by themselves, or may end it, on any of the databases.
const CONTROL: [&str; 39] = [
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
    // Nor is it known what a compound statement outside of a routine runs: <https://mariadb.com/kb/en/using-compound-statements-outside-of-stored-programs/>.
    "IF",
    "CASE",
    "LOOP",
    "WHILE",
    "REPEAT",
    "FOR",
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
pub(super) const ENDS_ON_MYSQL: &[&str] = CONTROL.split_at(2).1.split_at(30).0;

/// The words of statements that begin a transaction, which the driver does not count.
pub(super) const BEGINS: &[&str] = &["BEGIN", "START", "XA"];

/// As [`BEGINS`] on MySQL and MariaDB, with those of a routine, of a prepared and of a compound statement, which may begin one,
/// with the variable after whose change any statement does, and with those that lock tables until they are unlocked.
pub(super) const BEGINS_ON_MYSQL: &[&str] = &[
    "LOCK", "FLUSH", "BEGIN", "START", "XA", "CALL", "EXECUTE", "IF", "CASE", "LOOP", "WHILE",
    "REPEAT", "FOR", AUTOCOMMIT,
];

/// As [`BEGINS`] on SQLite, where a savepoint outside of a transaction begins one:
/// <https://www.sqlite.org/lang_savepoint.html>.
pub(super) const BEGINS_ON_SQLITE: &[&str] = &["BEGIN", "SAVEPOINT"];

/// The words with which a transaction ends on every database, and those with which another one then begins.
const ENDS: &[&str] = &["COMMIT", "END", "ROLLBACK", "ABORT"];
const BEGINS_ANOTHER: &[&str] = &["BEGIN", "START", "SAVEPOINT"];

/// The statements seen that may end a transaction by themselves, as one bit for each word of [`CONTROL`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Controls {
    /// Also those in a literal, a comment or the body of a routine.
    seen: u64,
    /// Those outside of literals, comments and bodies. Where databases read a text in different ways, a word counts.
    outside: u64,
    /// Those that are statements on every database.
    certain: u64,
    /// Whether a transaction was begun after one had ended, both for certain.
    begins_another: bool,
}

impl Controls {
    /// Reads the statements of a text.
    pub(crate) fn of(sql: &str) -> Self {
        // A fast path for nearly every statement, because this runs for each one.
        let (first, executed) = first_and_executed(sql);
        if is_one_of(first, &PLAIN) && executed.is_empty() && !sql.as_bytes().contains(&b';') {
            return Self::default();
        }
        let mut controls = Self::default();
        for statement in sql.split(';') {
            let (word, executed) = first_and_executed(statement);
            for word in [word, executed] {
                controls.seen |= bits(word, statement);
            }
        }
        if controls.is_any() {
            for (statement, is_certain) in Statements::of(sql) {
                let (word, executed) = first_and_executed(statement);
                controls.note(bits(word, statement), is_certain);
                // Other databases skip the comment.
                controls.note(bits(executed, statement), false);
            }
        }
        controls
    }

    /// Notes a statement outside of literals, comments and bodies.
    fn note(&mut self, bits: u64, is_certain: bool) {
        self.outside |= bits;
        if is_certain {
            self.begins_another |=
                first_in(self.certain, ENDS).is_some() && first_in(bits, BEGINS_ANOTHER).is_some();
            self.certain |= bits;
        }
    }

    /// Adds the statements that were seen later.
    pub(crate) fn add(&mut self, later: Self) {
        self.seen |= later.seen;
        self.outside |= later.outside;
        self.begins_another |= later.begins_another;
        self.note(later.certain, true);
    }

    /// Whether such a statement was seen.
    pub(crate) fn is_any(self) -> bool {
        self.seen != 0
    }

    /// The first of these words that was seen.
    pub(crate) fn first_of(self, words: &[&'static str]) -> Option<&'static str> {
        first_in(self.seen, words)
    }

    /// The first of these words that was a statement, as far as is known.
    pub(crate) fn first_statement_of(self, words: &[&'static str]) -> Option<&'static str> {
        first_in(self.outside, words)
    }

    /// The statement that has ended a transaction for certain, if another one was begun after it.
    pub(crate) fn ended_before_another(self) -> Option<&'static str> {
        first_in(self.certain, ENDS).filter(|_| self.begins_another)
    }
}

/// The bits of a statement with this first word; none if it is not one of [`CONTROL`], or ends no transaction.
fn bits(word: &str, statement: &str) -> u64 {
    let index = CONTROL
        .iter()
        .position(|control| word.eq_ignore_ascii_case(control));
    let Some(index) = index else { return 0 };
    if (is_one_of(word, &["ROLLBACK"]) && names_a_savepoint(statement))
        || (is_one_of(word, &["CREATE", "DROP"]) && names_temporary_table(statement))
    {
        return 0;
    }
    let autocommit = is_one_of(word, &["SET"]) && names_autocommit(statement);
    (1 << index) | (u64::from(autocommit) << (CONTROL.len() - 1))
}

/// The statements of a text, and whether each is one on every database.
///
/// A semicolon in a literal, a quoted name, a comment or the body of a routine ends no statement. From the first place on that the
/// databases read in different ways, each semicolon counts, and no statement is certain.
struct Statements<'s> {
    rest: &'s str,
    is_certain: bool,
    /// Whether the body of a routine or trigger has begun.
    in_body: bool,
}

impl<'s> Statements<'s> {
    fn of(sql: &'s str) -> Self {
        Self {
            rest: sql,
            is_certain: true,
            in_body: false,
        }
    }

    /// The length of the next statement, without its semicolon.
    fn length(&mut self) -> usize {
        let text = self.rest.as_bytes();
        let mut at = 0;
        while self.is_certain
            && let Some(&byte) = text.get(at)
        {
            at = match byte {
                b';' => return at,
                b'\'' | b'"' | b'`' | b'$' | b'-' | b'/' | b'#' => {
                    if let Some(end) = skipped(self.rest, at) {
                        end
                    } else {
                        self.is_certain = false;
                        at
                    }
                }
                _ => at + 1,
            };
        }
        let left = text.get(at..).unwrap_or_default();
        let semicolon = left.iter().position(|byte| *byte == b';');
        semicolon.map_or(text.len(), |semicolon| at + semicolon)
    }
}

impl<'s> Iterator for Statements<'s> {
    type Item = (&'s str, bool);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let length = self.length();
            let (statement, rest) = self.rest.split_at(length);
            self.rest = rest.strip_prefix(';').unwrap_or(rest);
            if self.in_body {
                self.in_body = !is_one_of(first_and_executed(statement).0, &["END"]);
            } else {
                self.in_body = begins_a_body(statement);
                return Some((statement, self.is_certain));
            }
        }
        None
    }
}

/// The end of what begins at this byte: a literal, a quoted name, a comment, or this byte alone. `None` if not all databases
/// read it in the same way.
fn skipped(sql: &str, at: usize) -> Option<usize> {
    let text = sql.get(at..)?;
    let mut characters = text.chars();
    let first = characters.next()?;
    let length = match first {
        '-' if text.starts_with("--") => {
            // MySQL and MariaDB need white space after it.
            let after = text.as_bytes().get(2);
            if after.is_some_and(|after| !after.is_ascii_whitespace()) {
                return None;
            }
            text.find('\n').unwrap_or(text.len())
        }
        '/' if text.starts_with("/*") => {
            let content = text.get(2..)?;
            let end = content.find("*/").unwrap_or(content.len());
            let content = content.get(..end)?;
            // Postgres nests comments, and MySQL and MariaDB execute some.
            if content.contains("/*") || content.starts_with('!') || content.starts_with("M!") {
                return None;
            }
            (2 + end + 2).min(text.len())
        }
        '#' => return None,
        '$' => dollar_quoted(text).unwrap_or(1),
        '\'' | '"' | '`' => {
            let content = characters.as_str();
            let end = content.find(first).unwrap_or(content.len());
            // A backslash escapes the quote in some databases, and in some of their literals.
            if content.get(..end)?.ends_with('\\') {
                return None;
            }
            // A doubled quote begins the next literal.
            (1 + end + 1).min(text.len())
        }
        _ => first.len_utf8(),
    };
    Some(at + length)
}

/// The length of a literal between two tags such as `$$` or `$body$`:
/// <https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-DOLLAR-QUOTING>.
fn dollar_quoted(text: &str) -> Option<usize> {
    let name = text.get(1..)?;
    let end = name.find('$')?;
    let of_names = |character: char| character.is_alphanumeric() || character == '_';
    if !name.get(..end)?.chars().all(of_names) {
        return None;
    }
    let (tag, content) = text.split_at(end + 2);
    content.find(tag).map(|close| tag.len() + close + tag.len())
}

/// Whether a definition goes on with statements up to an `END`: that of a trigger or routine with `BEGIN`.
fn begins_a_body(statement: &str) -> bool {
    let mut words = statement.split(|character: char| !character.is_ascii_alphabetic());
    is_one_of(first_and_executed(statement).0, &["CREATE"])
        && words.any(|word| is_one_of(word, &["TRIGGER", "FUNCTION", "PROCEDURE"]))
        && words.any(|word| is_one_of(word, &["BEGIN"]))
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
    let words = rollback.split(|character: char| !character.is_ascii_alphabetic());
    let mut words = words
        .filter(|word| !word.is_empty())
        .skip_while(|word| !is_one_of(word, &["ROLLBACK"]))
        .skip(1);
    let word = words.next().unwrap_or_default();
    let word = if is_one_of(word, &["WORK", "TRANSACTION"]) {
        words.next().unwrap_or_default()
    } else {
        word
    };
    is_one_of(word, &["TO"])
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

/// The first word after white space and comments, and the word that is the first for other databases: that in a comment which MySQL
/// and MariaDB execute, with `/*!` or `/*M!` at its begin, and that after the first end of comments that Postgres nests. On MySQL
/// and MariaDB a comment may also begin with `#`, with which no statement of another database begins:
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
            let (inner, after) = comment.split_once("*/").unwrap_or((comment, ""));
            if inner.contains("/*") {
                if executed.is_empty() {
                    executed = leading_word(after.trim_start());
                }
                after_nested(comment)
            } else {
                after
            }
        } else {
            break;
        };
        sql = rest;
    }
    (leading_word(sql), executed)
}

/// What follows a comment, after its opening, in which each opening needs an end of its own.
fn after_nested(mut comment: &str) -> &str {
    let mut open = 1;
    while open > 0 {
        let Some(end) = comment.find("*/") else {
            return "";
        };
        match comment.find("/*").filter(|begin| *begin < end) {
            Some(begin) => {
                open += 1;
                comment = comment.get(begin + 2..).unwrap_or_default();
            }
            None => {
                open -= 1;
                comment = comment.get(end + 2..).unwrap_or_default();
            }
        }
    }
    comment
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
        for (sql, outside) in [
            ("COMMIT", Some("COMMIT")),
            ("INSERT INTO a VALUES ('x'); COMMIT", Some("COMMIT")),
            ("INSERT INTO a VALUES ('it''s; COMMIT')", None),
            (r"INSERT INTO a VALUES ('it\'s'); COMMIT", Some("COMMIT")),
            ("SELECT 5--3; COMMIT", Some("COMMIT")),
            ("SELECT '-- '; COMMIT", Some("COMMIT")),
            ("SELECT 1 /* ; COMMIT */", None),
            ("SELECT $a$; COMMIT; $a$", None),
            ("SELECT $1; COMMIT", Some("COMMIT")),
            ("SELECT 1 # ; COMMIT", Some("COMMIT")),
            ("/* a /* b */ c */ COMMIT", Some("COMMIT")),
            ("ROLLBACK -- back to the start", Some("ROLLBACK")),
            ("ROLLBACK TRANSACTION TO a", None),
            ("IF 1 THEN COMMIT", Some("IF")),
            (
                "UPDATE a SET b = 1; CREATE TRIGGER a AFTER INSERT ON b BEGIN DELETE FROM c; END; END",
                Some("END"),
            ),
            ("SELECT 1; COMMIT", Some("COMMIT")),
            ("DO $$ BEGIN RAISE EXCEPTION 'a'; END $$", None),
            ("SELECT 'a; COMMIT'", None),
            ("SELECT 1 -- ; COMMIT", None),
            ("CREATE TABLE a (b TEXT DEFAULT ';')", Some("CREATE")),
            ("CREATE TEMPORARY TABLE a (id INTEGER)", None),
        ] {
            assert_eq!(
                Controls::of(sql).first_statement_of(&CONTROL),
                outside,
                "{sql}"
            );
        }
        for (texts, another) in [
            (&["ROLLBACK", "BEGIN"][..], true),
            (&["SELECT 'a'; COMMIT; BEGIN"], true),
            (&["BEGIN", "ROLLBACK"], false),
            (&["ROLLBACK TO a", "SAVEPOINT a"], false),
            (&["SELECT '; ROLLBACK'", "SAVEPOINT a"], false),
            (&["SELECT 1 # ; ROLLBACK", "SAVEPOINT a"], false),
            (
                &[
                    "CREATE TRIGGER a AFTER INSERT ON b BEGIN DELETE FROM c; END",
                    "SAVEPOINT a",
                ],
                false,
            ),
        ] {
            let mut all = Controls::default();
            for text in texts {
                all.add(Controls::of(text));
            }
            assert_eq!(all.ended_before_another().is_some(), another, "{texts:?}");
        }
        let begins = |sql, words| Controls::of(sql).first_of(words).is_some();
        assert!(begins("SELECT 1; begin", BEGINS));
        assert!(!begins("COMMIT", BEGINS));
        assert!(begins("call p()", BEGINS_ON_MYSQL) && !begins("call p()", BEGINS));
        assert_eq!(ENDS_ON_MYSQL.first(), Some(&"COMMIT"));
        assert_eq!(ENDS_ON_MYSQL.last(), Some(&"FOR"));
        assert!(begins("/* a /* b */ c */ BEGIN", BEGINS));
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
