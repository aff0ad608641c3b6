//! Postgres: clones of a template database, leased by advisory locks, and reused when shown to be clean.
//!
//! | file | what it holds |
//! |---|---|
//! | `kind`, `adaptor` | the parts that differ from other database servers |
//! | `names` | the names of databases, which give their states |
//! | `template` | finding and building a template |
//! | `around` | the settings of a template and the rights on it, for its clones |
//! | `baseline` | the measured content of a template |
//! | `objects` | conditions for the objects that belong to the content |
//! | `clean` | showing that a used database equals its template |
//! | `since` | recognizing the changes to a database since its lease |
//! | `made` | dropping the objects that a test has made in the schema |
//! | `types` | finding the types that the driver has cached for a connection |

mod adaptor;
mod around;
mod baseline;
mod clean;
mod kind;
mod made;
mod names;
mod objects;
mod since;
mod template;
mod types;

pub(super) use self::adaptor::test_server;
