//! Test isolation: a database for each test function.
//!
//! | file | what it holds |
//! |---|---|
//! | `test` | the attribute's facts about the test function |
//! | `isolated` | the databases of one test, from lease to return |
//! | `recipe` | the initial content of a test's database: migrations and fixtures, and their fingerprint |
//! | `options` | the connect options that belong to the fingerprint, and those that lead to the server |
//! | `fixtures` | fixture functions |
//! | `kinds` | the test server of a URL |
//! | `test_server` | the traits of test servers and leases |
//! | `server` | the implementation that all database servers share |
//! | `postgres`, `mysql` | the parts that differ between database servers |
//! | `cockroach`, `sqlite` | test servers of their own: a cluster, and a folder |
//! | `retention` | which databases are kept (`POOLHOUSE_KEEP`), and for how long |
//! | `test_database`, `inventory` | listing and removing test databases |
//! | `cancel` | cancelling a future at each of its await points |
//! | `background` | the runtime that outlives every test |
//! | `ephemeral` | private servers for tests without a URL |
//!
//! # Rules
//!
//! 1. All state is on the server. A *lease*, the right of one test to one database, is a lock of one of this process's
//!    sessions, so that it ends with the process. The state of a database is in its name, comment or marks. So threads,
//!    processes and source trees need no coordination, and no state is kept outside the server.
//! 2. For each fingerprint of its content, a database is built once, as a *template*, and cloned for tests.
//! 3. Where possible, databases are dropped and cloned before or after a test, not while it waits.
//!
//! # Rules of reuse
//!
//! 1. A database is reused by another test only after it was shown to equal its template, when all sessions that could
//!    change it have ended. If that cannot be shown for any reason (an error, a limit, a right), the database is dropped.
//! 2. The evidence is in the database: rows and the transactions that wrote them, catalogs, sequences. Evidence outside the
//!    database may be used only if its loss is noticed, as the loss of a session is.
//! 3. The server's counters and statistics may only add work (a database is dropped), never save it.
//! 4. A database that was not returned in order is dropped: a leased database whose lock is free was left by an ended
//!    process, and its content is unknown. A *ready* database was shown to be clean before it was marked as ready.
//! 5. A start or a crash of the server, or a reset of its statistics, begins another *incarnation*. Ready databases of
//!    earlier incarnations are dropped, also those that a process keeps. Templates on Postgres stay, unless they hold
//!    content that a crash changes; on MySQL and MariaDB they are built again. Another version of the server has other
//!    fingerprints.
//! 6. After a test that rolls back, other such tests of the same process reuse the database as it is, if the server undoes
//!    all writes and tells how many sessions were in the database (Postgres). If the transaction did not last as long as the
//!    test, or another session was in the database, the database is dropped. In all other cases the rules above apply.
//! 7. A connection is passed on with its database only if its session is cleared, and neither the session nor the driver keeps
//!    anything of an earlier test that cannot be cleared. Otherwise the next test opens a connection.
//!
//! Roles, users, settings of the server and of roles, and files of the server belong to no database: a test's changes to
//! them stay.

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
mod options;
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
