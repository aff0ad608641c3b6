//! Test functions: a database for each, and what comes of it.
//!
//! | file | what it holds |
//! |---|---|
//! | `test` | what the attribute knows of the test function |
//! | `isolated` | the databases of one test, from lease to return |
//! | `ground` | where isolated databases come from: one implementation for each kind of database |
//! | `recipe` | what a database holds when a test gets it: migrations and fixtures, and their fingerprint |
//! | `inventory` | what is on a server, for people |
//! | `kinds` | from a URL to its ground |
//! | `fixtures` | fixture functions |
//! | `keep` | what is kept, and for how long: `POOLHOUSE_KEEP` |
//! | `site` | the servers that this process tests on |
//! | `calendar` | the time of day, as names and comments have it |
//! | `background` | the runtime that outlives every test |
//! | `postgres`, `cockroach`, `mysql`, `sqlite` | the grounds |
//! | `ephemeral` | private servers, where no URL names one |
//!
//! # Rules
//!
//! 1. The server is the only truth. A *lease*, the right of one test to one database, is a lock that the server holds
//!    for a session of this process: it ends with the process, however that ends. Names say what state a database is in.
//!    So threads, processes and source trees need not know of each other, and nothing is kept outside the server.
//! 2. A database is made once, as a *template*, for each fingerprint of what it holds, and copied for tests.
//! 3. Nothing is dropped or copied while a test waits, if it can be done before or after.
//! 4. Whatever a killed process leaves is told from what is in use by its free lock, and removed by the next one.

mod background;
#[cfg(feature = "testing")]
mod cancel;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod calendar;
#[cfg(feature = "postgres")]
mod cockroach;
#[cfg(all(feature = "ephemeral", any(feature = "postgres", feature = "mysql")))]
mod ephemeral;
mod fixtures;
mod ground;
mod inventory;
mod isolated;
mod keep;
mod kinds;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
mod recipe;
#[cfg(all(unix, any(feature = "sqlite", feature = "ephemeral")))]
mod scratch;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod site;
#[cfg(feature = "sqlite")]
mod sqlite;
mod test;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod url;

pub use self::fixtures::Seeded;
pub(crate) use self::fixtures::seed;
pub use self::inventory::{TestDatabase, TestDatabaseState};
pub(crate) use self::isolated::Isolated;
pub(crate) use self::kinds::url_of_test;
pub use self::test::Test;

#[cfg(feature = "testing")]
pub use self::cancel::{Cancelled, Completed, cancel_everywhere};
#[cfg(feature = "testing")]
pub use crate::engine::Recorded;
#[cfg(feature = "testing")]
pub use crate::pool::{End, Statement};
