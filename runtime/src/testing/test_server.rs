//! The traits of test servers, which give databases to tests, and of leases.

use std::any::Any;
use std::sync::Arc;

use futures_core::future::BoxFuture;

use super::recipe::Recipe;
use super::test::Test;
use super::test_database::TestDatabase;
use crate::error::Error;
use crate::settings::{BorrowedByAny, DatabaseUrl, LeaseCheck, TestFile};

/// The right to have connections on a server, released on drop.
pub(crate) type Reservation = Box<dyn Any + Send + Sync>;

/// A server, or a folder, that gives databases to tests. A process has one value for each.
pub(crate) trait TestServer: Send + Sync {
    /// Identifies the server, whatever user or address leads to it. Tests with several engines reserve in the order of these.
    fn identity(self: Arc<Self>) -> BoxFuture<'static, Result<String, Error>>;

    /// Reserves connections, and waits until the server has room for them among all processes that test on it.
    fn reserve(self: Arc<Self>, connections: u32)
    -> BoxFuture<'static, Result<Reservation, Error>>;

    /// Leases a database with the recipe's content, for one test alone or for tests that roll back.
    fn lease(
        self: Arc<Self>,
        recipe: Arc<Recipe>,
        test: Test,
        rolls_back: bool,
    ) -> BoxFuture<'static, Result<Box<dyn Lease>, Error>>;

    /// Lists the test databases.
    fn list(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<TestDatabase>, Error>>;

    /// Removes the unused test databases, and returns them.
    fn remove_unused(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<TestDatabase>, Error>>;
}

/// The right of one test to one database.
///
/// A lease that is dropped without [`end`](Lease::end), because the test's future was dropped, ends without retention. The
/// database of a test that rolls back is dropped then.
pub(crate) trait Lease: Send + Sync {
    fn url(&self) -> &DatabaseUrl;

    /// The file that the URL names, if any.
    fn file(&self) -> Option<TestFile> {
        None
    }

    /// Open connections to the database, which the test's engine borrows.
    fn borrowed(&self) -> Option<BorrowedByAny> {
        None
    }

    /// The check of the lease on each new connection to the database.
    fn check(&self) -> Option<Arc<dyn LeaseCheck>> {
        None
    }

    /// Ends the lease. With [`LeaseEnd::Retain`], returns the location of the kept database, or why it is not kept.
    fn end(self: Box<Self>, ending: LeaseEnd) -> BoxFuture<'static, Option<Retained>>;
}

/// The location of a kept database, or why the database is not kept.
pub(crate) type Retained = Result<String, String>;

/// What happens to a test's database when its lease ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseEnd {
    /// Another test reuses the database if it can be shown to be clean.
    Return,
    /// The database is kept for inspection.
    Retain,
    /// The database is dropped: the test could not begin, or its writes cannot be undone.
    Drop,
}
