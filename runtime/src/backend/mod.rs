//! The kinds of database, one file each.
//!
//! A kind is described twice: as a [`Dialect`], plain data that the pool and the errors read, and as a [`Backend`], the
//! typed half that lets the engine run queries on a driver's connection. The pool and the engine depend on a kind only
//! through these two.

// `Backend` is sealed, so that the private types in its hidden methods are used only in this crate.
#![allow(private_interfaces)]

#[cfg(feature = "any")]
mod any;
#[cfg(any(feature = "any", feature = "postgres"))]
mod cockroach;
mod database;
mod executes;
#[cfg(feature = "mysql")]
mod mysql;
mod options;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use self::database::Backend;
pub(crate) use self::database::{OpenUnit, OptionsOf, Pooled, error_line};
#[cfg(any(feature = "postgres", all(feature = "testing", feature = "mysql")))]
pub(crate) use self::executes::Executes;
pub(crate) use self::executes::{Step, all, count, first};
