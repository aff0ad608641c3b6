//! MySQL and MariaDB: databases made by replaying a template's schema, leased by `GET_LOCK`, and reused when shown to be
//! clean.
//!
//! | name | the database |
//! |---|---|
//! | `poolhouse_<fingerprint>_template` | is a template, or is becoming one |
//! | `poolhouse_<fingerprint>_db_<n>` | is a clone; leased, or was when its process ended, unless a mark gives another state |
//!
//! These servers cannot rename a database or comment on it, so that other states are rows in tables (*marks*).
//!
//! | file | what it holds |
//! |---|---|
//! | `kind`, `adaptor` | the parts that differ from other database servers |
//! | `names` | the names of databases, and their states |
//! | `marks` | the marks of databases |
//! | `queries` | the results of several statements, and the numbers of errors |
//! | `code` | queries for triggers, routines, events and rights |
//! | `schema` | the content of a template, and statements that copy it |
//! | `look` | the properties of a database besides its content |
//! | `clean` | showing that a used database equals its template |

mod adaptor;
mod clean;
mod code;
mod kind;
mod look;
mod marks;
mod names;
mod queries;
mod schema;

pub(super) use self::adaptor::test_server;
