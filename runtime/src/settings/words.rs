//! Settings that take one of a few words: an enum for each, which can be read from text.

use std::fmt;
use std::str::FromStr;

use super::error::ParseError;
use super::form::Form;
use super::value::Value;

/// The pooler between an engine and its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pooler {
    /// `"pgbouncer"`: [pgbouncer](https://www.pgbouncer.org), in any of its modes.
    PgBouncer,
}

/// The database that a test function gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TestIsolation {
    /// `"database"`: a database of its own.
    Database,
    /// `"rollback"`: one connection inside a transaction that is rolled back.
    Rollback,
    /// `"none"`: the configured database as it is.
    None,
}

/// The level at which statements are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LogLevel {
    /// `"off"`: not logged.
    Off,
    /// `"error"`
    Error,
    /// `"warn"`
    Warn,
    /// `"info"`
    Info,
    /// `"debug"`
    Debug,
    /// `"trace"`
    Trace,
}

/// The level of the spans of statements, waits and transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum QuerySpans {
    /// `"off"`: no spans.
    #[default]
    Off,
    /// `"debug"`
    Debug,
    /// `"info"`
    Info,
}

/// The kind of tokio runtime that a `main` gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RuntimeFlavor {
    /// `"multi_thread"`: work is done on several threads.
    MultiThread,
    /// `"current_thread"`: all work is done on the thread of `main`.
    CurrentThread,
}

/// A word that a setting takes: as a value of its type `W`, or as text.
///
/// Text that is not one of the words is an error when the engine starts, like any invalid setting.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a value of this setting",
    label = "expected a `{W}`, or text that names one"
)]
pub trait IntoWord<W>: sealed::Sealed<W> {
    /// The word.
    #[doc(hidden)]
    fn into_text(self) -> String;
}

#[diagnostic::do_not_recommend]
impl<W: Word> IntoWord<W> for W {
    fn into_text(self) -> String {
        self.text().to_owned()
    }
}

#[diagnostic::do_not_recommend]
impl<W: Word> IntoWord<W> for &str {
    fn into_text(self) -> String {
        self.to_owned()
    }
}

#[diagnostic::do_not_recommend]
impl<W: Word> IntoWord<W> for String {
    fn into_text(self) -> String {
        self
    }
}

mod sealed {
    pub trait Sealed<W> {}
    impl<W: super::Word> Sealed<W> for W {}
    impl<W: super::Word> Sealed<W> for &str {}
    impl<W: super::Word> Sealed<W> for String {}
}

/// A type whose values have one word each.
#[doc(hidden)]
pub trait Word: Copy + Send + Sync + 'static {
    /// What may be written, in words that complete "expected …".
    const ACCEPTS: &'static str;

    /// The values, each with its word.
    const ALL: &'static [(Self, &'static str)];

    /// The word of this value.
    fn text(self) -> &'static str;
}

impl<W: Word> Form for W {
    const ACCEPTS: &'static str = W::ACCEPTS;

    fn read(value: &Value) -> Option<Self> {
        find(value.as_str()?)
    }

    fn show(&self) -> String {
        self.text().to_owned()
    }
}

/// The value of a word, in any case.
fn find<W: Word>(text: &str) -> Option<W> {
    let is_it = |(_, word): &&(W, &str)| word.eq_ignore_ascii_case(text.trim());
    W::ALL.iter().find(is_it).map(|(value, _)| *value)
}

macro_rules! words {
    ($accepts:literal, $word:ident: $($value:ident = $text:literal),+) => {
        impl Word for $word {
            const ACCEPTS: &'static str = $accepts;
            const ALL: &'static [(Self, &'static str)] = &[$((Self::$value, $text)),+];

            fn text(self) -> &'static str {
                match self {
                    $(Self::$value => $text),+
                }
            }
        }

        impl fmt::Display for $word {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.text())
            }
        }

        impl FromStr for $word {
            type Err = ParseError;

            /// Reads the word. Case and white space around it do not count.
            fn from_str(text: &str) -> Result<Self, ParseError> {
                find(text).ok_or_else(|| ParseError::new($accepts))
            }
        }
    };
}

words!("\"pgbouncer\"", Pooler: PgBouncer = "pgbouncer");
words!(
    "\"database\", \"rollback\" or \"none\"",
    TestIsolation: Database = "database", Rollback = "rollback", None = "none"
);
words!(
    "\"off\", \"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
    LogLevel: Off = "off", Error = "error", Warn = "warn", Info = "info", Debug = "debug", Trace = "trace"
);
words!(
    "\"off\", \"debug\" or \"info\"",
    QuerySpans: Off = "off", Debug = "debug", Info = "info"
);
words!(
    "\"multi_thread\" or \"current_thread\"",
    RuntimeFlavor: MultiThread = "multi_thread", CurrentThread = "current_thread"
);

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Display};
    use std::str::FromStr;

    use super::super::table::{FLAVORS, ISOLATIONS, LOG_LEVELS, POOLERS, SPAN_LEVELS};
    use super::{LogLevel, ParseError, Pooler, QuerySpans, RuntimeFlavor, TestIsolation, Word};

    fn are<W: Word + PartialEq + Debug + Display + FromStr<Err = ParseError>>(table: &[&str]) {
        let words: Vec<&str> = W::ALL.iter().map(|(_, word)| *word).collect();
        assert_eq!(words, table);
        for (value, word) in W::ALL {
            assert_eq!(value.to_string(), *word);
            assert_eq!(format!(" {word}\n").to_uppercase().parse(), Ok(*value));
            assert!(W::ACCEPTS.contains(&format!("{word:?}")), "{word}");
        }
        let error = "other".parse::<W>().unwrap_err();
        assert_eq!(error.to_string(), format!("not {}", W::ACCEPTS));
    }

    #[test]
    fn the_words_are_those_of_the_table() {
        are::<Pooler>(POOLERS);
        are::<TestIsolation>(ISOLATIONS);
        are::<LogLevel>(LOG_LEVELS);
        are::<QuerySpans>(SPAN_LEVELS);
        are::<RuntimeFlavor>(FLAVORS);
    }
}
