//! What an operator asks a server before a program runs there. One database a file.

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
