//! Transaction options: isolation level, read-only, deferrable.

use std::fmt;
use std::str::FromStr;

use crate::settings::ParseError;

/// The characteristics of a transaction, as in SQL: <https://www.postgresql.org/docs/current/sql-set-transaction.html>.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Characteristics {
    pub(crate) isolation: Option<IsolationLevel>,
    pub(crate) read_only: bool,
    pub(crate) deferrable: bool,
}

/// How far a transaction is isolated from concurrent ones.
///
/// The databases define the levels differently: [Postgres](https://www.postgresql.org/docs/current/transaction-iso.html),
/// [MariaDB](https://mariadb.com/kb/en/set-transaction/#isolation-levels). SQLite has only
/// [serializable](https://www.sqlite.org/isolation.html) transactions, which satisfy every level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IsolationLevel {
    /// Sees uncommitted changes of others. Postgres treats it as `ReadCommitted`.
    ReadUncommitted,
    /// Each statement sees what was committed before it.
    ReadCommitted,
    /// All statements see what was committed before the first.
    RepeatableRead,
    /// As if there were no other transaction. Conflicts are errors, which are retried.
    Serializable,
}

impl fmt::Display for IsolationLevel {
    /// The level's name in SQL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadUncommitted => "READ UNCOMMITTED",
            Self::ReadCommitted => "READ COMMITTED",
            Self::RepeatableRead => "REPEATABLE READ",
            Self::Serializable => "SERIALIZABLE",
        })
    }
}

impl FromStr for IsolationLevel {
    type Err = ParseError;

    /// Reads the level's name, such as `read committed`, as `#[transactional]` does. Case and white space around it do not
    /// count; `_` and `-` count as a space.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let words = text.trim().to_lowercase().replace(['_', '-'], " ");
        Ok(match words.as_str() {
            "read uncommitted" => Self::ReadUncommitted,
            "read committed" => Self::ReadCommitted,
            "repeatable read" => Self::RepeatableRead,
            "serializable" => Self::Serializable,
            _ => {
                return Err(ParseError::new(
                    "\"read uncommitted\", \"read committed\", \"repeatable read\" or \"serializable\"",
                ));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::IsolationLevel;

    #[test]
    fn a_level_is_read_from_its_name_in_any_case() {
        for level in [
            IsolationLevel::ReadUncommitted,
            IsolationLevel::ReadCommitted,
            IsolationLevel::RepeatableRead,
            IsolationLevel::Serializable,
        ] {
            let name = level.to_string();
            assert_eq!(name.parse(), Ok(level));
            assert_eq!(format!(" {}\n", name.to_lowercase()).parse(), Ok(level));
            assert_eq!(name.replace(' ', "_").parse(), Ok(level));
            assert_eq!(name.replace(' ', "-").parse(), Ok(level));
        }
        for text in ["", "read", "snapshot", "read  committed"] {
            let error = text.parse::<IsolationLevel>().unwrap_err();
            assert!(error.to_string().contains("serializable"), "{error}");
        }
    }
}
