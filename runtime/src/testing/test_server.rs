//! Test servers: where tests get databases from, and the lease of one.

use std::any::Any;
use std::sync::Arc;

use futures_core::future::BoxFuture;

use super::recipe::Recipe;
use super::test::Test;
use super::test_database::TestDatabase;
use crate::error::Error;
use crate::settings::{BorrowedByAny, DatabaseUrl, LeaseCheck, TestFile};

/// The right to have connections on a server, given back when it is dropped.
pub(crate) type Reservation = Box<dyn Any + Send + Sync>;

/// A server, or a folder, that gives databases to tests. There is one for each in a process.
pub(crate) trait TestServer: Send + Sync {
    /// Tells it from others. Tests with several engines ask their servers in this order.
    fn key(&self) -> &str;

    /// Waits until the server has room for so many more connections, among all processes that test on it.
    fn reserve(self: Arc<Self>, connections: u32)
    -> BoxFuture<'static, Result<Reservation, Error>>;

    /// Leases a database that holds what the recipe says, for one test alone or for tests that roll back.
    fn lease(
        self: Arc<Self>,
        recipe: Arc<Recipe>,
        test: Test,
        rolls_back: bool,
    ) -> BoxFuture<'static, Result<Box<dyn Lease>, Error>>;

    /// Lists what tests have made here.
    fn list(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<TestDatabase>, Error>>;

    /// Removes what tests have made here and no test uses, and tells what that was.
    fn remove_unused(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<TestDatabase>, Error>>;
}

/// The right of one test to one database.
///
/// A lease that is dropped without [`end`](Lease::end), because the test's future was dropped, ends without retention.
pub(crate) trait Lease: Send + Sync {
    fn url(&self) -> &DatabaseUrl;

    /// The file that the URL names, where it names one.
    fn file(&self) -> Option<TestFile> {
        None
    }

    /// Connections to it that are open already.
    fn borrowed(&self) -> Option<BorrowedByAny> {
        None
    }

    /// What a new connection to it asks first.
    fn check(&self) -> Option<Arc<dyn LeaseCheck>> {
        None
    }

    /// Gives the database back, or keeps it and says where it can be found.
    fn end(self: Box<Self>, ending: LeaseEnd) -> BoxFuture<'static, Option<String>>;
}

/// What is to become of a test's database.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseEnd {
    /// It goes on to another test if it can be shown to be clean.
    Return,
    /// It is kept for a person.
    Retain,
    /// It is dropped: something was written that nobody can undo.
    Drop,
}
