//! Postgres: clones of a template database, leased by advisory locks, and used again when they are shown to be clean.
//!
//! | file | what it holds |
//! |---|---|
//! | `kind`, `adaptor` | what differs from other database servers |
//! | `names` | the states of a database, as its name tells them |
//! | `template` | making a template |
//! | `baseline` | what a template holds |
//! | `clean` | showing that a used database is what its template is |
//! | `since` | what tells the changes of a leased database from what was there before |
//! | `made` | what a test has made in the schema, dropped |

mod adaptor;
mod baseline;
mod clean;
mod kind;
mod made;
mod names;
mod since;
mod template;

pub(super) use self::adaptor::test_server;
