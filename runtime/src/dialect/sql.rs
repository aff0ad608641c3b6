//! What the pool reads of SQL: which statements of a text begin or end a transaction, and whether it only reads.

use super::statements::{
    Backslash, Keywords, Statements, Syntax, after_comments, is_one_of, leading_word,
};

/// The first words of statements that end a transaction by themselves, or may end it, on any of the databases.
const CONTROL: [&str; 48] = [
    // Not of MySQL and MariaDB.
    "END",
    "ABORT",
    PREPARE_TRANSACTION,
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
    "STOP",
    "RESET",
    "CHANGE",
    "IMPORT",
    "CLONE",
    LOAD_INDEX,
    SET_PASSWORD,
    SET_DEFAULT_ROLE,
    BACKUP_STAGE,
    // No first word: it is for a `SET` of this variable, which commits when it turns the variable on.
    AUTOCOMMIT,
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
    "SET",
    "BACKUP",
    "SAVEPOINT",
];

/// A change of the variable of MySQL and MariaDB by which each statement begins a transaction, or ends its own.
const AUTOCOMMIT: &str = "SET AUTOCOMMIT";

const PREPARE_TRANSACTION: &str = "PREPARE TRANSACTION";
const LOAD_INDEX: &str = "LOAD INDEX";
const SET_PASSWORD: &str = "SET PASSWORD";
const SET_DEFAULT_ROLE: &str = "SET DEFAULT";
const BACKUP_STAGE: &str = "BACKUP STAGE";

/// Statements that end a transaction, of which others with the same first word do not.
const PAIRS: [&str; 5] = [
    PREPARE_TRANSACTION,
    LOAD_INDEX,
    SET_PASSWORD,
    SET_DEFAULT_ROLE,
    BACKUP_STAGE,
];

/// The first words of most statements, which end no transaction.
const PLAIN: [&str; 5] = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"];

/// The words of [`CONTROL`] that end a transaction on MySQL and MariaDB, or run statements that may:
/// <https://mariadb.com/kb/en/sql-statements-that-cause-an-implicit-commit/>.
pub(super) const ENDS_ON_MYSQL: &[&str] = CONTROL.split_at(3).1.split_at(40).0;

/// The words with which a transaction ends on Postgres.
pub(super) const ENDS_ON_POSTGRES: &[&str] =
    &["COMMIT", "END", "ROLLBACK", "ABORT", PREPARE_TRANSACTION];

/// The words of statements that begin a transaction, which the driver does not count.
pub(super) const BEGINS: &[&str] = &["BEGIN", "START", "XA"];

/// As [`BEGINS`] on MySQL and MariaDB, with those of a routine, of a prepared and of a compound statement, which may begin one,
/// with the variable after whose change any statement does, and with those of [`LOCKS_ON_MYSQL`].
pub(super) const BEGINS_ON_MYSQL: &[&str] = &[
    "LOCK", "FLUSH", "BEGIN", "START", "XA", "CALL", "EXECUTE", "IF", "CASE", "LOOP", "WHILE",
    "REPEAT", "FOR", AUTOCOMMIT,
];

/// The words of statements that lock tables of MySQL and MariaDB until they are unlocked, also outside of transactions.
pub(super) const LOCKS_ON_MYSQL: &[&str] = &["LOCK", "FLUSH"];

/// As [`BEGINS`] on SQLite, where a savepoint outside of a transaction begins one:
/// <https://www.sqlite.org/lang_savepoint.html>.
pub(super) const BEGINS_ON_SQLITE: &[&str] = &["BEGIN", "SAVEPOINT"];

/// The begin of the names that the driver gives to savepoints, which end with their transaction.
pub(super) const DRIVERS_SAVEPOINT: &str = "_sqlx_savepoint_";

/// The words with which a transaction ends on every database, and those with which another one then begins.
const ENDS: &[&str] = &["COMMIT", "END", "ROLLBACK", "ABORT"];
const BEGINS_ANOTHER: &[&str] = &["BEGIN", "START", "SAVEPOINT"];

/// The statements seen that may end a transaction by themselves, as one bit for each word of [`CONTROL`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Controls {
    /// Also those in a literal, a comment or the body of a routine.
    seen: u64,
    /// Those outside of literals, comments and bodies. Where the text can be read in two ways, a word counts.
    outside: u64,
    /// Those that are statements for certain.
    certain: u64,
    /// Whether a transaction was begun after one had ended, both for certain.
    begins_another: bool,
}

impl Controls {
    /// Reads the statements of a text.
    pub(crate) fn of(sql: &str, syntax: Syntax) -> Self {
        // A fast path for nearly every statement, because this runs for each one.
        let (text, executed) = after_comments(sql, syntax);
        if is_one_of(leading_word(text), &PLAIN)
            && executed.is_empty()
            && !sql.as_bytes().contains(&b';')
        {
            return Self::default();
        }
        let mut controls = Self::read(sql, syntax, Backslash::Escape);
        if syntax == Syntax::MySql && sql.as_bytes().contains(&b'\\') {
            for backslash in [Backslash::EscapeInSingle, Backslash::Plain] {
                let other = Self::read(sql, syntax, backslash);
                controls.outside |= other.outside;
                controls.certain &= other.certain;
                controls.begins_another &= other.begins_another;
            }
        }
        controls.seen |= controls.outside;
        for statement in sql.split(';') {
            let (text, executed) = after_comments(statement, syntax);
            controls.seen |= bits(text, syntax) | bits(executed, syntax);
        }
        controls
    }

    /// Reads the statements outside of literals, comments and bodies.
    fn read(sql: &str, syntax: Syntax, backslash: Backslash) -> Self {
        let mut controls = Self::default();
        for (statement, is_certain) in Statements::of(sql, syntax, backslash) {
            let (text, executed) = after_comments(statement, syntax);
            let bits = bits(text, syntax) | bits(executed, syntax);
            controls.note(bits, is_certain);
            controls.begins_another |=
                is_certain && first_in(bits, ENDS).is_some() && is_chained(text, syntax);
        }
        controls
    }

    /// Notes a statement outside of literals, comments and bodies.
    fn note(&mut self, bits: u64, is_certain: bool) {
        self.seen |= bits;
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

    /// Whether a transaction was begun after one had ended, both for certain.
    pub(crate) fn begins_another(self) -> bool {
        self.begins_another
    }

    /// The statement that has ended a transaction for certain, if another one was begun after it.
    pub(crate) fn ended_before_another(self) -> Option<&'static str> {
        first_in(self.certain, ENDS).filter(|_| self.begins_another)
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

/// The bits of a statement without comments before it; none if its first word is not one of [`CONTROL`], or it ends no transaction.
fn bits(statement: &str, syntax: Syntax) -> u64 {
    let word = leading_word(statement);
    let index = CONTROL
        .iter()
        .position(|control| word.eq_ignore_ascii_case(control));
    let Some(index) = index else { return 0 };
    if (is_one_of(word, &["ROLLBACK"]) && names_a_savepoint(statement, syntax))
        || (is_one_of(word, &["CREATE", "DROP"]) && names_temporary_table(statement, syntax))
    {
        return 0;
    }
    let autocommit =
        (is_one_of(word, &["SET"]) && names_autocommit(statement)).then_some(AUTOCOMMIT);
    (1 << index) | bit_of(autocommit) | bits_of_second(statement, syntax)
}

/// The bit of one of [`CONTROL`].
fn bit_of(control: Option<&str>) -> u64 {
    let index = CONTROL.iter().position(|known| Some(*known) == control);
    index.map_or(0, |index| 1 << index)
}

/// The bits that the second word of a statement decides about.
fn bits_of_second(statement: &str, syntax: Syntax) -> u64 {
    let word = leading_word(statement);
    let (rest, _) = after_comments(&statement[word.len()..], syntax);
    // A name has more characters in it.
    let second = Keywords::of(rest, syntax).next();
    let Some(second) = second.filter(|second| rest.starts_with(second)) else {
        return 0;
    };
    if syntax == Syntax::MySql && is_one_of(word, &["SET"]) && is_one_of(second, &["STATEMENT"]) {
        return bits_after_for(rest, syntax);
    }
    let is_pair = |pair: &&str| {
        pair.split_once(' ')
            .is_some_and(|pair| is_one_of(word, &[pair.0]) && is_one_of(second, &[pair.1]))
    };
    bit_of(PAIRS.into_iter().find(is_pair))
}

/// The bits of the statement that MariaDB runs with other settings: `SET STATEMENT … FOR …`, whose settings may have a `FOR` in
/// them too: <https://mariadb.com/kb/en/set-statement/>.
fn bits_after_for(set: &str, syntax: Syntax) -> u64 {
    let mut words = Keywords::of(set, syntax);
    let mut found = 0;
    while let Some(word) = words.next() {
        if is_one_of(word, &["FOR"]) {
            let (statement, executed) = after_comments(words.rest(), syntax);
            for statement in [statement, executed] {
                // A nested one has its own `FOR`, which comes later in this text.
                if !is_one_of(leading_word(statement), &["SET"]) {
                    found |= bits(statement, syntax);
                }
            }
        }
    }
    found
}

/// Whether a `ROLLBACK` goes to a savepoint.
fn names_a_savepoint(rollback: &str, syntax: Syntax) -> bool {
    Keywords::of(rollback, syntax).any(|word| is_one_of(word, &["TO"]))
}

/// Whether the end of a transaction begins the next one.
fn is_chained(end: &str, syntax: Syntax) -> bool {
    let words: Vec<&str> = Keywords::of(end, syntax).collect();
    let chain = words.iter().position(|word| is_one_of(word, &["CHAIN"]));
    chain.is_some_and(|chain| chain > 0 && !is_one_of(words[chain - 1], &["NO"]))
}

/// Whether a `SET` has the variable `autocommit` in it.
fn names_autocommit(set: &str) -> bool {
    set.to_ascii_uppercase().contains("AUTOCOMMIT")
}

/// Whether a definition is of a temporary table, which commits nothing on MySQL and MariaDB.
fn names_temporary_table(definition: &str, syntax: Syntax) -> bool {
    let mut words = Keywords::of(definition, syntax)
        .skip(1)
        .skip_while(|word| is_one_of(word, &["OR", "REPLACE"]));
    words
        .next()
        .is_some_and(|word| is_one_of(word, &["TEMPORARY"]))
}

/// The first word of each statement, up to where the text can be read in two ways.
#[cfg(feature = "postgres")]
pub(crate) fn first_words(sql: &str) -> impl Iterator<Item = &str> {
    Statements::of(sql, Syntax::Postgres, Backslash::Unknown).scan(
        true,
        |is_certain, (statement, stays_certain)| {
            let word = leading_word(after_comments(statement, Syntax::Postgres).0);
            std::mem::replace(is_certain, stays_certain).then_some(word)
        },
    )
}

/// Whether a text is one statement that writes nothing.
#[cfg(feature = "sqlite")]
pub(crate) fn only_reads(sql: &str, syntax: Syntax) -> bool {
    // A fast path, because this runs for each query for one row.
    let reads = |statement| is_one_of(leading_word(statement), &["SELECT", "VALUES"]);
    if reads(sql) && !sql.as_bytes().contains(&b';') {
        return true;
    }
    let mut statements = Statements::of(sql, syntax, Backslash::Unknown)
        .map(|(statement, _)| after_comments(statement, syntax).0)
        .filter(|statement| !statement.is_empty());
    let (Some(statement), None) = (statements.next(), statements.next()) else {
        return false;
    };
    reads(statement)
        || (is_one_of(leading_word(statement), &["WITH"]) && !writes(statement, syntax))
}

/// Whether a word is that of a statement that writes. `replace(` is a function.
#[cfg(feature = "sqlite")]
fn writes(statement: &str, syntax: Syntax) -> bool {
    let mut words = Keywords::of(statement, syntax);
    while let Some(word) = words.next() {
        let is_function = || after_comments(words.rest(), syntax).0.starts_with('(');
        if is_one_of(word, &["INSERT", "UPDATE", "DELETE"])
            || (is_one_of(word, &["REPLACE"]) && !is_function())
        {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::Syntax::{MySql, Postgres, Sqlite};
    use super::*;

    const ALL: [Syntax; 3] = [Postgres, MySql, Sqlite];

    #[test]
    fn what_ends_a_transaction_is_known_from_what_does_not() {
        for (sql, seen) in [
            ("INSERT INTO a VALUES (1)", None),
            ("ROLLBACK TO SAVEPOINT a", None),
            ("rollback work to a", None),
            ("ROLLBACK", Some("ROLLBACK")),
            ("ROLLBACK -- back to the start", Some("ROLLBACK")),
            ("-- rollback of a\nROLLBACK TO a", None),
            ("ROLLBACK /* undo */ TO a", None),
            ("SELECT 1; /* now */ commit", Some("COMMIT")),
            ("-- a table\ncreate table a (id int)", Some("CREATE")),
            ("CREATE TEMPORARY TABLE a (id INTEGER)", None),
            (
                "/* a */ CREATE OR REPLACE TEMPORARY TABLE a (id INTEGER)",
                None,
            ),
            ("/* é */ COMMIT", Some("COMMIT")),
        ] {
            for syntax in ALL {
                let controls = Controls::of(sql, syntax);
                assert_eq!(controls.first_of(&CONTROL), seen, "{sql} {syntax:?}");
                assert_eq!(controls.is_any(), seen.is_some(), "{sql}");
            }
        }
    }

    #[test]
    fn literals_comments_and_bodies_are_no_statements() {
        let commit = Some("COMMIT");
        for (sql, syntaxes, outside) in [
            ("COMMIT", &ALL[..], commit),
            ("SELECT 1; COMMIT", &ALL, commit),
            ("INSERT INTO a VALUES ('x'); COMMIT", &ALL, commit),
            ("INSERT INTO a VALUES ('it''s; COMMIT')", &ALL, None),
            (r"INSERT INTO a VALUES ('it\'s'); COMMIT", &[MySql], commit),
            (
                r"INSERT INTO a VALUES ('C:\'); COMMIT",
                &[Postgres, Sqlite],
                commit,
            ),
            (
                r"INSERT INTO a VALUES ('C:\'); INSERT INTO a VALUES ('; COMMIT')",
                &[Postgres, Sqlite],
                None,
            ),
            (r"SELECT E'it\'s'; COMMIT", &[Postgres], commit),
            ("SELECT 5--3; COMMIT", &[MySql], commit),
            ("SELECT 5--3; COMMIT", &[Postgres, Sqlite], None),
            ("SELECT '-- '; COMMIT", &ALL, commit),
            ("SELECT 1 -- ; COMMIT", &ALL, None),
            ("SELECT 1 /* ; COMMIT */", &ALL, None),
            ("SELECT 1 # ; COMMIT", &[MySql], None),
            ("SELECT 1 # 2; COMMIT", &[Postgres], commit),
            ("SELECT `; COMMIT`", &[MySql, Sqlite], None),
            ("SELECT [; COMMIT]", &[Sqlite], None),
            ("SELECT $a$; COMMIT; $a$", &[Postgres], None),
            ("SELECT $1; COMMIT", &[Postgres], commit),
            ("/* a /* b */ c */ COMMIT", &[Postgres], commit),
            ("/* a /* b */ COMMIT", &[MySql, Sqlite], commit),
            ("/*!40000 COMMIT */", &[MySql], commit),
            ("/*!40000 COMMIT */", &[Postgres, Sqlite], None),
            ("DO $$ BEGIN RAISE EXCEPTION 'a'; END $$", &[Postgres], None),
            ("--note\nDO $$ BEGIN PERFORM 1; END $$", &[Postgres], None),
            ("IF 1 THEN COMMIT", &[MySql], Some("IF")),
            ("SELECT 'é;é'; COMMIT", &ALL, commit),
            ("-- a; b\nCOMMIT", &ALL, commit),
            ("/* a; b */ COMMIT", &ALL, commit),
            ("# a; b\nCOMMIT", &[MySql], commit),
            (
                r"UPDATE a SET x = 'it\'s'; -- now; then
COMMIT",
                &[MySql],
                commit,
            ),
            (
                r"INSERT INTO a VALUES (E'a''b\'; COMMIT; c')",
                &[Postgres],
                None,
            ),
            (r"SELECT E'C:\\'; COMMIT", &[Postgres], commit),
            (r"SELECT date'C:\'; COMMIT", &[Postgres], commit),
            (
                "UPDATE n SET t = E'it\\'s fine\nEnd of it' WHERE id = 1;",
                &[Postgres],
                None,
            ),
            (
                "UPDATE n SET t = 'it\\'s fine\nIf you can' WHERE id = 1;",
                &[MySql],
                None,
            ),
            // What follows depends on the session's mode.
            (r"SELECT 'a\'; COMMIT; SELECT 'b'", &[MySql], commit),
            (r"SELECT 'a\'', '; COMMIT; ', 'b'", &[MySql], commit),
            ("SELECT \"a\\\"; COMMIT; SELECT \"b\"", &[MySql], commit),
            ("-- c\rCOMMIT", &[Postgres], commit),
            ("\u{feff}COMMIT", &[Sqlite], commit),
        ] {
            for syntax in syntaxes {
                let controls = Controls::of(sql, *syntax);
                let words: Vec<&str> = CONTROL
                    .into_iter()
                    .filter(|word| *word != "CREATE")
                    .collect();
                assert_eq!(
                    controls.first_statement_of(&words),
                    outside,
                    "{sql} {syntax:?}"
                );
            }
        }
    }

    #[test]
    fn a_body_is_no_statement() {
        for (sql, syntax, ends) in [
            (
                "CREATE TRIGGER a AFTER INSERT ON b BEGIN DELETE FROM c; END; END",
                Sqlite,
                true,
            ),
            (
                "CREATE TRIGGER a AFTER INSERT ON b BEGIN DELETE FROM c; END",
                Sqlite,
                false,
            ),
            (
                "CREATE TABLE trigger_log (begin_at TEXT); ROLLBACK",
                Sqlite,
                true,
            ),
            (
                "CREATE TABLE function_calls (begin_at TEXT); COMMIT",
                Postgres,
                true,
            ),
            (
                "CREATE TRIGGER a AFTER INSERT ON b EXECUTE FUNCTION begin_x(); COMMIT",
                Postgres,
                true,
            ),
            (
                "CREATE FUNCTION f() RETURNS int AS $$ BEGIN RETURN 1; END $$ LANGUAGE plpgsql; COMMIT",
                Postgres,
                true,
            ),
            (
                "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END",
                Postgres,
                false,
            ),
        ] {
            let found = Controls::of(sql, syntax).first_statement_of(ENDS);
            assert_eq!(found.is_some(), ends, "{sql}");
        }
    }

    #[test]
    fn a_transaction_that_is_ended_and_begun_again_is_seen() {
        for (texts, syntax, another) in [
            (&["ROLLBACK", "BEGIN"][..], Sqlite, true),
            (&["SELECT 'a'; COMMIT; BEGIN"], Sqlite, true),
            (&["--undo\nROLLBACK", "BEGIN"], Sqlite, true),
            (&["COMMIT AND CHAIN"], Postgres, true),
            (&["ROLLBACK AND NO CHAIN"], Postgres, false),
            (&["BEGIN", "ROLLBACK"], Sqlite, false),
            (&["ROLLBACK TO a", "SAVEPOINT a"], Sqlite, false),
            (
                &["ROLLBACK TRANSACTION b TO a", "SAVEPOINT a"],
                Sqlite,
                false,
            ),
            (
                &[r"INSERT INTO a VALUES (E'a''b\'; COMMIT; BEGIN; c')"],
                Postgres,
                false,
            ),
            (
                &["-- rollback of a\nROLLBACK TO a", "SAVEPOINT a"],
                Sqlite,
                false,
            ),
            (&["SELECT '; ROLLBACK'", "SAVEPOINT a"], Sqlite, false),
            (&["SELECT 1 -- ; ROLLBACK", "SAVEPOINT a"], Sqlite, false),
            (
                &[
                    "CREATE TRIGGER a AFTER INSERT ON b BEGIN DELETE FROM c; END",
                    "SAVEPOINT a",
                ],
                Sqlite,
                false,
            ),
        ] {
            let mut all = Controls::default();
            for text in texts {
                all.add(Controls::of(text, syntax));
            }
            assert_eq!(all.ended_before_another().is_some(), another, "{texts:?}");
        }
    }

    #[test]
    fn a_second_word_may_decide() {
        for (sql, ends) in [
            (
                "SET STATEMENT lock_wait_timeout=1 FOR ALTER TABLE a ADD b INT",
                Some("ALTER"),
            ),
            (
                "set statement a=1, b='for commit' for /* c */ call p()",
                Some("CALL"),
            ),
            (
                "SET STATEMENT a=1 FOR SET STATEMENT b=1 FOR FLUSH TABLES",
                Some("FLUSH"),
            ),
            (
                "SET STATEMENT a=SUBSTRING('a' FROM 1 FOR 2) FOR COMMIT",
                Some("COMMIT"),
            ),
            ("SET STATEMENT a=1 FOR SELECT 1 FOR UPDATE", None),
            ("SET STATEMENT a='FOR COMMIT' FOR SELECT 1", None),
            ("SET PASSWORD = PASSWORD('a')", Some("SET PASSWORD")),
            (
                "SET /* a */ PASSWORD FOR b = PASSWORD('a')",
                Some("SET PASSWORD"),
            ),
            ("SET @password = 'a'", None),
            ("SET password_of_mine = 'a'", None),
            ("LOAD INDEX INTO CACHE a", Some("LOAD INDEX")),
            ("LOAD DATA INFILE 'a' INTO TABLE b", None),
            ("RESET MASTER", Some("RESET")),
            ("STOP SLAVE", Some("STOP")),
            ("CHANGE MASTER TO MASTER_HOST = 'a'", Some("CHANGE")),
            ("PREPARE a FROM 'COMMIT'", None),
            ("SET autocommit = 1", Some(AUTOCOMMIT)),
            ("SET DEFAULT ROLE a TO b", Some(SET_DEFAULT_ROLE)),
            ("SET default_week_format = 1", None),
            ("BACKUP STAGE START", Some(BACKUP_STAGE)),
            ("BACKUP LOCK a", None),
            ("IMPORT TABLE FROM 'a'", Some("IMPORT")),
            ("CLONE LOCAL DATA DIRECTORY = 'a'", Some("CLONE")),
        ] {
            let controls = Controls::of(sql, MySql);
            assert_eq!(controls.first_statement_of(ENDS_ON_MYSQL), ends, "{sql}");
        }
        for (sql, ends) in [
            ("PREPARE TRANSACTION 'a'", Some(PREPARE_TRANSACTION)),
            ("PREPARE transaction_of AS SELECT 1", None),
            ("RESET ALL", None),
            ("SET STATEMENT a=1 FOR COMMIT", None),
        ] {
            let controls = Controls::of(sql, Postgres);
            assert_eq!(controls.first_statement_of(ENDS_ON_POSTGRES), ends, "{sql}");
        }
        let locks = "SET STATEMENT max_statement_time=5 FOR LOCK TABLES a WRITE";
        let begins = Controls::of(locks, MySql).first_of(BEGINS_ON_MYSQL);
        assert_eq!(begins, Some("LOCK"));
    }

    #[test]
    fn what_begins_a_transaction_is_seen() {
        let begins = |sql, words| {
            let of = |syntax| Controls::of(sql, syntax).first_of(words).is_some();
            ALL.into_iter().any(of)
        };
        assert!(begins("SELECT 1; begin", BEGINS));
        assert!(!begins("COMMIT", BEGINS));
        assert!(begins("call p()", BEGINS_ON_MYSQL) && !begins("call p()", BEGINS));
        assert_eq!(ENDS_ON_MYSQL.first(), Some(&"COMMIT"));
        assert_eq!(ENDS_ON_MYSQL.last(), Some(&"FOR"));
        for sql in [
            "SET @@session.autocommit = 0",
            "# off\nSET autocommit = 0",
            "/*!40101 SET autocommit=0 */",
            "/*M! SET autocommit=0 */",
            "/*M! SELECT 1 */; SET autocommit=0",
        ] {
            assert!(begins(sql, BEGINS_ON_MYSQL), "{sql}");
        }
        assert!(begins("/*! import */ BEGIN", BEGINS));
        assert!(begins("/*! select */ BEGIN", BEGINS));
        assert!(begins("/* a /* b */ c */ BEGIN", BEGINS));
        assert!(begins("-- a; b\nBEGIN", BEGINS));
        assert!(begins("/* a; b */ BEGIN", BEGINS));
        assert!(begins("# a; b\nLOCK TABLES a WRITE", BEGINS_ON_MYSQL));
        assert!(begins("# a; b\nSET autocommit = 0", BEGINS_ON_MYSQL));
        assert!(!begins("SET sql_mode = ''", BEGINS_ON_MYSQL));
        assert!(!begins("SELECT @@autocommit", BEGINS_ON_MYSQL));
        assert!(begins("savepoint a", BEGINS_ON_SQLITE) && !begins("savepoint a", BEGINS));
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn a_word_counts_as_the_first_of_a_statement_where_that_is_certain() {
        for (sql, words) in [
            ("SELECT 1; listen news", &["SELECT", "listen"][..]),
            (
                "SELECT '\nLISTEN'; -- ;\nNOTIFY news",
                &["SELECT", "NOTIFY"],
            ),
            (
                r"INSERT INTO a VALUES (E'Don\'t go
Listen to me')",
                &["INSERT"],
            ),
            (
                r"LISTEN news; SELECT E'Don\'t go
Listen to me'",
                &["LISTEN", "SELECT"],
            ),
        ] {
            assert_eq!(first_words(sql).collect::<Vec<_>>(), words, "{sql}");
        }
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn a_statement_that_only_reads_is_known() {
        for (sql, reads) in [
            ("SELECT 1", true),
            ("-- one\nSELECT 1;", true),
            ("WITH a AS (SELECT 1) SELECT * FROM a", true),
            ("WITH a AS (SELECT 1) SELECT replace (1, 2, 3) FROM a", true),
            (
                "WITH a AS (SELECT 1) REPLACE INTO b SELECT * FROM a RETURNING 1",
                false,
            ),
            (
                "WITH a AS (SELECT 1) INSERT INTO b SELECT * FROM a RETURNING 1",
                false,
            ),
            ("INSERT INTO a VALUES (1) RETURNING id", false),
            ("SELECT 1; INSERT INTO a VALUES (1)", false),
            ("PRAGMA user_version = 1", false),
        ] {
            assert_eq!(only_reads(sql, Sqlite), reads, "{sql}");
        }
    }
}
