//! The statements of a text and the words of a statement, by the lexical rules of each database.

/// How a database reads the text of statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// <https://www.postgresql.org/docs/current/sql-syntax-lexical.html>
    Postgres,
    /// <https://mariadb.com/kb/en/string-literals/>, <https://mariadb.com/kb/en/comment-syntax/>
    MySql,
    /// <https://www.sqlite.org/lang_expr.html>
    Sqlite,
}

/// What a backslash before a quote is on MySQL and MariaDB, where `sql_mode` decides it:
/// <https://mariadb.com/kb/en/sql-mode/>, `NO_BACKSLASH_ESCAPES` and `ANSI_QUOTES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backslash {
    Unknown,
    /// An escape.
    Escape,
    /// An escape in single quotes alone.
    EscapeInSingle,
    /// A character like any other.
    Plain,
}

/// Whether a word is one of these keywords, in any case.
pub(crate) fn is_one_of(word: &str, keywords: &[&str]) -> bool {
    keywords
        .iter()
        .any(|keyword| word.eq_ignore_ascii_case(keyword))
}

/// The text after white space and comments, and the content of a comment before it which MySQL and MariaDB execute: with `/*!` or
/// `/*M!` at its begin.
pub(super) fn after_comments(mut sql: &str, syntax: Syntax) -> (&str, &str) {
    let mut executed = "";
    loop {
        // SQLite takes the mark of a file in UTF-8 for white space.
        sql = sql.trim_start_matches(|first: char| first.is_whitespace() || first == '\u{feff}');
        let Some(length) = comment(sql, syntax) else {
            return (sql, executed);
        };
        if executed.is_empty()
            && let Some(content) = executed_comment(sql, syntax)
        {
            executed = content;
        }
        sql = sql.get(length..).unwrap_or_default();
    }
}

/// What MySQL and MariaDB execute of a comment at the begin of a text.
fn executed_comment(text: &str, syntax: Syntax) -> Option<&str> {
    if syntax != Syntax::MySql {
        return None;
    }
    let content = text.strip_prefix("/*!").or(text.strip_prefix("/*M!"))?;
    let digits = |character: char| character.is_ascii_digit();
    Some(content.trim_start_matches(digits).trim_start())
}

/// The length of a comment at the begin of a text.
fn comment(text: &str, syntax: Syntax) -> Option<usize> {
    let is_line = match syntax {
        Syntax::MySql if text.starts_with("--") => {
            // Else it is twice a minus.
            let after = text.as_bytes().get(2);
            after.is_none_or(u8::is_ascii_whitespace)
        }
        Syntax::MySql => text.starts_with('#'),
        Syntax::Postgres | Syntax::Sqlite => text.starts_with("--"),
    };
    if is_line {
        let ends: &[char] = match syntax {
            Syntax::Postgres => &['\n', '\r'],
            Syntax::MySql | Syntax::Sqlite => &['\n'],
        };
        return Some(text.find(ends).unwrap_or(text.len()));
    }
    let content = text.strip_prefix("/*")?;
    let mut open = 1;
    let bytes = content.as_bytes();
    let mut at = 0;
    while open > 0 {
        match bytes.get(at..at + 2) {
            Some(b"*/") => {
                open -= 1;
                at += 2;
            }
            // Only Postgres nests comments.
            Some(b"/*") if syntax == Syntax::Postgres => {
                open += 1;
                at += 2;
            }
            Some(_) => at += 1,
            None => return Some(text.len()),
        }
    }
    Some(2 + at)
}

/// The ASCII letters that a text begins with.
pub(crate) fn leading_word(text: &str) -> &str {
    let end = text.bytes().position(|byte| !byte.is_ascii_alphabetic());
    &text[..end.unwrap_or(text.len())]
}

/// A part of a text.
enum Part {
    /// A literal, a quoted name, a comment or another character, of this length.
    Other(usize),
    /// A name, a keyword or a number, of this length.
    Word(usize),
    /// The text can be read in two ways from here on.
    Unclear,
}

/// The part at the begin of a text, which is not empty.
fn part(text: &str, after: Option<char>, syntax: Syntax, backslash: Backslash) -> Part {
    let Some(first) = text.chars().next() else {
        return Part::Other(0);
    };
    match first {
        '-' | '/' | '#' if comment(text, syntax).is_some() => {
            if executed_comment(text, syntax).is_some() {
                return Part::Unclear;
            }
            Part::Other(comment(text, syntax).unwrap_or(1))
        }
        '\'' | '"' => quoted(text, first, after, syntax, backslash),
        '`' if syntax != Syntax::Postgres => quoted(text, first, after, syntax, backslash),
        '[' if syntax == Syntax::Sqlite => Part::Other(text.find(']').unwrap_or(text.len())),
        '$' if syntax == Syntax::Postgres => Part::Other(dollar_quoted(text).unwrap_or(1)),
        _ if is_of_word(first) => {
            let end = text.find(|character| !is_of_word(character) && character != '$');
            Part::Word(end.unwrap_or(text.len()))
        }
        _ => Part::Other(first.len_utf8()),
    }
}

fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// A literal or a quoted name. Unless a backslash is an escape in it, a doubled quote begins the next one.
fn quoted(
    text: &str,
    quote: char,
    after: Option<char>,
    syntax: Syntax,
    backslash: Backslash,
) -> Part {
    let escapes = match (syntax, backslash) {
        // `E'…'`.
        (Syntax::Postgres, _) => quote == '\'' && matches!(after, Some('e' | 'E')),
        (Syntax::MySql, Backslash::Escape | Backslash::Unknown) => quote != '`',
        (Syntax::MySql, Backslash::EscapeInSingle) => quote == '\'',
        (Syntax::MySql, Backslash::Plain) | (Syntax::Sqlite, _) => false,
    };
    let content = text.get(1..).unwrap_or_default();
    if escapes && syntax == Syntax::MySql && backslash == Backslash::Unknown {
        let end = content.find(quote);
        let content = end.and_then(|end| content.get(..end));
        if content.is_some_and(|content| content.ends_with('\\')) {
            return Part::Unclear;
        }
    } else if escapes {
        return Part::Other(1 + escaped(content, quote));
    }
    content
        .find(quote)
        .map_or(Part::Other(text.len()), |end| Part::Other(1 + end + 1))
}

/// The length of the rest of a literal in which a backslash is an escape, with its last quote.
fn escaped(content: &str, quote: char) -> usize {
    let mut characters = content.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let is_next_quote = characters.peek().is_some_and(|(_, next)| *next == quote);
        if character == '\\' || (character == quote && is_next_quote) {
            characters.next();
        } else if character == quote {
            return at + 1;
        }
    }
    content.len()
}

/// The character that decides how a quote after a part of a text is read. Only `E` alone begins a literal of Postgres.
fn last_of(part: &str, is_word: bool) -> Option<char> {
    if is_word && part.len() > 1 {
        return None;
    }
    part.chars().next_back()
}

/// The length of a literal between two tags such as `$$` or `$body$`:
/// <https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-DOLLAR-QUOTING>.
fn dollar_quoted(text: &str) -> Option<usize> {
    let name = text.get(1..)?;
    let end = name.find(|character| !is_of_word(character))?;
    if !name.get(end..)?.starts_with('$') {
        return None;
    }
    let (tag, content) = text.split_at(end + 2);
    content.find(tag).map(|close| tag.len() + close + tag.len())
}

/// The words of a statement outside of literals, quoted names and comments.
pub(super) struct Keywords<'s> {
    rest: &'s str,
    syntax: Syntax,
    after: Option<char>,
}

impl<'s> Keywords<'s> {
    pub(super) fn of(rest: &'s str, syntax: Syntax) -> Self {
        Self {
            rest,
            syntax,
            after: None,
        }
    }

    /// The text after the last word.
    pub(super) fn rest(&self) -> &'s str {
        self.rest
    }
}

impl<'s> Iterator for Keywords<'s> {
    type Item = &'s str;

    fn next(&mut self) -> Option<&'s str> {
        while !self.rest.is_empty() {
            let part = part(self.rest, self.after, self.syntax, Backslash::Unknown);
            let (length, is_word) = match part {
                Part::Word(length) => (length, true),
                Part::Other(length) => (length.max(1), false),
                // The quote or the comment's opening alone.
                Part::Unclear => (1, false),
            };
            let (text, rest) = self.rest.split_at(length);
            self.rest = rest;
            self.after = last_of(text, is_word);
            if is_word {
                return Some(text);
            }
        }
        None
    }
}

/// The statements of a text, and whether each is one for certain.
///
/// A semicolon in a literal, a quoted name, a comment or the body of a routine ends no statement. From the first character on that can
/// be read in two ways, each semicolon counts, and each end of a line or of a comment too. No statement is certain then.
pub(super) struct Statements<'s> {
    rest: &'s str,
    syntax: Syntax,
    backslash: Backslash,
    is_certain: bool,
    /// Whether the body of a routine or trigger has begun.
    in_body: bool,
}

impl<'s> Statements<'s> {
    pub(super) fn of(rest: &'s str, syntax: Syntax, backslash: Backslash) -> Self {
        Self {
            rest,
            syntax,
            backslash,
            is_certain: true,
            in_body: false,
        }
    }

    /// The length of the next statement, without its semicolon.
    fn length(&mut self) -> usize {
        let mut at = 0;
        let mut after = None;
        while self.is_certain
            && let Some(text) = self.rest.get(at..)
            && !text.is_empty()
        {
            if text.starts_with(';') {
                return at;
            }
            let (length, is_word) = match part(text, after, self.syntax, self.backslash) {
                Part::Word(length) => (length, true),
                Part::Other(length) => (length.max(1), false),
                Part::Unclear => {
                    self.is_certain = false;
                    break;
                }
            };
            after = text.get(..length).and_then(|part| last_of(part, is_word));
            at += length;
        }
        let left = self.rest.get(at..).unwrap_or_default();
        let ends =
            |at: usize| matches!(left.as_bytes()[at], b';' | b'\n') || left[at..].starts_with("*/");
        let end = left.char_indices().map(|(at, _)| at).find(|at| ends(*at));
        end.map_or(self.rest.len(), |length| at + length)
    }
}

impl<'s> Iterator for Statements<'s> {
    type Item = (&'s str, bool);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let length = self.length();
            let (statement, rest) = self.rest.split_at(length);
            self.rest = [";", "\n", "*/"]
                .iter()
                .find_map(|end| rest.strip_prefix(end))
                .unwrap_or(rest);
            if self.in_body {
                let (text, _) = after_comments(statement, self.syntax);
                self.in_body = !is_one_of(leading_word(text), &["END"]);
            } else {
                self.in_body = begins_a_body(statement, self.syntax);
                return Some((statement, self.is_certain));
            }
        }
        None
    }
}

/// Whether a definition goes on with statements up to an `END`: that of a trigger on SQLite, or of a routine on Postgres, where a
/// literal is the usual body. On MySQL and MariaDB the definition itself ends a transaction, so that its body does not matter.
fn begins_a_body(statement: &str, syntax: Syntax) -> bool {
    let (defined, begin): (&[&str], &[&str]) = match syntax {
        Syntax::Sqlite => (&["TRIGGER"], &["BEGIN"]),
        Syntax::Postgres => (&["FUNCTION", "PROCEDURE"], &["BEGIN", "ATOMIC"]),
        Syntax::MySql => return false,
    };
    let words: Vec<&str> = Keywords::of(statement, syntax)
        .skip_while(|word| is_one_of(word, &["EXPLAIN", "QUERY", "PLAN"]))
        .collect();
    let Some((create, after)) = words.split_first() else {
        return false;
    };
    let mut object = after
        .iter()
        .skip_while(|word| is_one_of(word, &["OR", "REPLACE", "TEMP", "TEMPORARY"]));
    is_one_of(create, &["CREATE"])
        && object.next().is_some_and(|word| is_one_of(word, defined))
        && words.windows(begin.len()).any(|words| {
            let mut pairs = words.iter().zip(begin);
            pairs.all(|(word, expected)| word.eq_ignore_ascii_case(expected))
        })
}

/// The text without comments and without the content of what may be a literal. From where on it can be read in two ways, nothing
/// is left of it.
pub(crate) fn without_literals(sql: &str, syntax: Syntax) -> String {
    let mut shown = String::new();
    let mut rest = sql;
    let mut after = None;
    while !rest.is_empty() {
        let (length, is_word) = match part(rest, after, syntax, Backslash::Unknown) {
            Part::Word(length) => (length, true),
            Part::Other(length) => (length.max(1), false),
            Part::Unclear => {
                shown.push('…');
                break;
            }
        };
        let (text, left) = rest.split_at(length);
        if comment(text, syntax).is_some() {
            shown.push(' ');
        } else if let Some(quote) = quote_of_literal(text, syntax) {
            // On Postgres, an old setting decides whether a backslash escapes the quote.
            if text
                .strip_suffix(quote)
                .is_some_and(|of| of.ends_with('\\'))
            {
                shown.push('…');
                break;
            }
            // A doubled quote is the end of one part and the begin of the next.
            if !shown.ends_with(quote) || after != quote.chars().next_back() {
                shown.push_str(&[quote, "…", quote].concat());
            }
        } else if text == "$" && !left.starts_with(|next: char| next.is_ascii_digit()) {
            // The tag of a literal without an end.
            shown.push('…');
            break;
        } else {
            shown.push_str(text);
        }
        rest = left;
        after = last_of(text, is_word);
    }
    shown
}

/// What a part of a text begins with if it may be a literal.
fn quote_of_literal(part: &str, syntax: Syntax) -> Option<&str> {
    let is_literal = match part.chars().next()? {
        '\'' => true,
        // A name by the standard, and a literal on MySQL, and on SQLite where there is no such name.
        '"' => syntax != Syntax::Postgres,
        '$' => part.len() > 1,
        _ => false,
    };
    is_literal.then(|| &part[..1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_literal_is_shown() {
        use Syntax::{MySql, Postgres, Sqlite};
        let all = [Postgres, MySql, Sqlite];
        let cases: [(&[Syntax], &str, &str); 14] = [
            (&all, "SELECT 'a', b, 'it''s'", "SELECT '…', b, '…'"),
            (&all, "SELECT '', 'a' 'b'", "SELECT '…', '…' '…'"),
            (&all, "/* don't */ SELECT 's3cret'", "  SELECT '…'"),
            (&all, "-- don't\nSELECT 's3cret'", " \nSELECT '…'"),
            (&all, "SELECT 's3cret ö", "SELECT '…'"),
            (
                &all,
                "UPDATE t SET a = 'C:\\', b = 's3cret'",
                "UPDATE t SET a = …",
            ),
            (
                &[Postgres],
                "SELECT E'it\\'s', 's3cret'",
                "SELECT E'…', '…'",
            ),
            (
                &[Postgres],
                "SELECT 1 AS \"it's\", 's3cret'",
                "SELECT 1 AS \"it's\", '…'",
            ),
            (&[MySql, Sqlite], "SELECT \"s3cret\"", "SELECT \"…\""),
            (
                &[Postgres],
                "SELECT $$s3cret$$, $a$it's$a$, $1",
                "SELECT $…$, $…$, $1",
            ),
            (&[Postgres], "SELECT $$s3cret", "SELECT …"),
            (&[MySql], "SELECT 1 # 's3cret\n, 2", "SELECT 1  \n, 2"),
            (&[MySql], "SELECT /*! 's3cret' */", "SELECT …"),
            (
                &[MySql, Sqlite],
                "SELECT `it's`, 's3cret'",
                "SELECT `it's`, '…'",
            ),
        ];
        for (syntaxes, sql, shown) in cases {
            for syntax in syntaxes {
                assert_eq!(without_literals(sql, *syntax), shown, "{syntax:?}: {sql}");
            }
        }
    }
}
