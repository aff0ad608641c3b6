//! The untyped half of a database: schemes of URLs, the SQL of the pool's own needs, transaction options, and the diagnosis
//! of errors. One database a file.

mod cockroach;
mod description;
mod diagnosis;
mod inspection;
mod log_position;
mod mysql;
mod postgres;
mod schemes;
mod sql;
mod sqlite;
mod statements;
mod text;
mod transaction;

#[cfg(any(feature = "postgres", feature = "any"))]
pub(crate) use self::cockroach::COCKROACH;
pub(crate) use self::description::{
    Dialect, Local, Mark, MigrationsLock, STILL_HELD, SessionAnswer, SessionCommands,
};
pub(crate) use self::diagnosis::{Diagnosis, diagnosed, message, own_message};
pub(crate) use self::inspection::{How, Idle, Room};
pub(crate) use self::log_position::{LogPosition, Replayed};
#[cfg(feature = "mysql")]
pub(crate) use self::mysql::MYSQL;
pub(crate) use self::postgres::POSTGRES;
#[cfg(feature = "web")]
pub(crate) use self::schemes::is_conflict;
pub(crate) use self::schemes::{SchemeError, dialect_named, dialect_of};
#[cfg(feature = "postgres")]
pub(crate) use self::sql::first_words;
#[cfg(feature = "sqlite")]
pub(crate) use self::sql::only_reads;
pub(crate) use self::sql::{Controls, echo};
#[cfg(feature = "sqlite")]
pub(crate) use self::sqlite::{SQLITE, one_database};
#[cfg(feature = "postgres")]
pub(crate) use self::statements::is_one_of;
pub(crate) use self::statements::{Syntax, leading_word, without_literals};
#[cfg(all(feature = "testing", any(feature = "postgres", feature = "sqlite")))]
pub(crate) use self::text::literal;
#[cfg(feature = "testing")]
pub(crate) use self::text::one_line;
pub(crate) use self::text::short_line;
pub(crate) use self::transaction::Characteristics;
pub use self::transaction::IsolationLevel;
