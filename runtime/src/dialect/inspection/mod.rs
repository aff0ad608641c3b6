//! The queries of `POOLHOUSE_RUN=check`, which an operator runs before a program. One database a file.

mod mysql;
mod postgres;
mod questions;
mod room;
mod sqlite;

pub(super) use self::mysql::MYSQL;
pub(super) use self::postgres::{COCKROACH, POSTGRES};
pub(crate) use self::questions::{How, Idle, Inspection};
pub(crate) use self::room::Room;
pub(super) use self::sqlite::SQLITE;
