//! MySQL and MariaDB: databases made by replaying a template's schema, leased by `GET_LOCK`, and used again when they are
//! shown to be clean.
//!
//! | name | the database |
//! |---|---|
//! | `poolhouse_<fingerprint>_template` | is a template, or is becoming one |
//! | `poolhouse_<fingerprint>_db_<n>` | is a clone; a test's, or was when its process ended |
//!
//! A database cannot be renamed here, nor carry a comment: what else there is to be said stands in tables (*marks*).
//!
//! | file | what it holds |
//! |---|---|
//! | `kind`, `adaptor` | what differs from other database servers |
//! | `names` | what the names tell |
//! | `marks` | what is said of databases |
//! | `queries` | small queries, and what errors say |
//! | `schema` | what a template holds, and statements that make another database like it |
//! | `clean` | showing that a used database is what its template is |

mod adaptor;
mod clean;
mod kind;
mod marks;
mod names;
mod queries;
mod schema;

pub(super) use self::adaptor::test_server;
