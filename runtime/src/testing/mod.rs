//! Test functions: a database for each.
//!
//! | file | what it holds |
//! |---|---|
//! | `test` | what the attribute knows of the test function |
//! | `isolated` | the databases of one test, from lease to return |
//! | `recipe` | what a database holds when a test gets it: migrations and fixtures, and their fingerprint |
//! | `fixtures` | fixture functions |
//! | `kinds` | from a URL to its test server |
//! | `test_server` | what a test server gives: leases |
//! | `server` | database servers as test servers, written once for all of them |
//! | `postgres`, `mysql` | what differs from database server to database server |
//! | `cockroach`, `sqlite` | test servers without locks: a cluster, and a folder |
//! | `retention` | which database is kept (`POOLHOUSE_KEEP`), and for how long anything stays |
//! | `test_database`, `inventory` | what is on a server, for people |
//! | `cancel` | a future that is cancelled at each of its await points |
//! | `background` | the runtime that outlives every test |
//! | `ephemeral` | private servers, where no URL names one |
//!
//! # Rules
//!
//! 1. The server is the only truth. A *lease*, the right of one test to one database, is a lock that the server holds
//!    for a session of this process: it ends with the process, however that ends. Names say what state a database is in.
//!    So threads, processes and source trees need not know of each other, and nothing is kept outside the server.
//! 2. A database is made once, as a *template*, for each fingerprint of what it holds, and cloned for tests.
//! 3. Nothing is dropped or cloned while a test waits, if it can be done before or after.
//!
//! # Rules of reuse
//!
//! 1. A database goes on to another test only when it has been shown to be what its template is, after the last session that
//!    could change it has ended. What cannot be shown, for whatever reason (an error, a limit, a right), is dropped.
//! 2. What shows it lives in the database: rows and the transactions that wrote them, catalogs, sequences. What is not in the
//!    database may be used only if its loss is noticed, as that of a session is.
//! 3. The server's counters and statistics may lead to more work (a database is dropped), never to less.
//! 4. Whatever was not given back in order is dropped: a leased database whose lock is free was left by a process that has
//!    ended, and nobody knows what that process has done there. A *ready* database was shown to be clean before its name
//!    said so.
//! 5. A start or a crash of the server, or a reset of its statistics, makes another *incarnation* of it. Ready databases of
//!    earlier ones are dropped, and those that a process keeps. A template stays, unless it holds what a crash loses. Another
//!    version of the server has other fingerprints.
//! 6. A database in which a test has rolled back goes on to other such tests of the same process as it is, when it is known that
//!    the transaction has lasted as long as the test, that nobody else was there, and that a rollback undoes writes to each of
//!    its tables; else it is dropped. To any other test it goes by the rules above.
//!
//! Roles and users, settings of the server and of roles, and files of the server belong to no database: what a test does to
//! them stays.

mod background;
mod cancel;
#[cfg(feature = "postgres")]
mod cockroach;
#[cfg(all(feature = "ephemeral", any(feature = "postgres", feature = "mysql")))]
mod ephemeral;
mod fixtures;
mod inventory;
mod isolated;
mod kinds;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
mod recipe;
mod retention;
#[cfg(all(unix, any(feature = "sqlite", feature = "ephemeral")))]
mod scratch;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod server;
#[cfg(feature = "sqlite")]
mod sqlite;
mod test;
mod test_database;
mod test_server;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod url;

pub use self::cancel::{Cancelled, Completed, cancel_everywhere};
pub use self::fixtures::Seeded;
pub(crate) use self::fixtures::seed;
pub use self::inventory::{remove_test_databases, test_databases};
pub(crate) use self::isolated::Isolated;
pub(crate) use self::kinds::url_of_test;
#[doc(hidden)]
pub use self::test::Test;
pub use self::test_database::{TestDatabase, TestDatabaseState};
pub use crate::engine::Recorded;
pub use crate::pool::{End, Statement};
