//! Where isolated databases come from.

use std::any::Any;
use std::sync::Arc;

use futures_core::future::BoxFuture;

use super::inventory::TestDatabase;
use super::recipe::Recipe;
use super::test::Test;
use crate::error::Error;
use crate::settings::{DatabaseUrl, LentToAny, TestFile};

/// Room for connections on a server, given back when it is dropped.
pub(crate) type Room = Box<dyn Any + Send + Sync>;

/// A server, or a folder, that gives databases to tests. There is one for each in a process.
pub(crate) trait Ground: Send + Sync {
    /// What tells it from others. Tests with several engines ask their grounds in this order.
    fn key(&self) -> &str;

    /// Waits until the server has room for so many more connections, among all processes that test on it.
    fn reserve(self: Arc<Self>, connections: u32) -> BoxFuture<'static, Result<Room, Error>>;

    /// Leases a database that holds what the recipe says.
    fn lease(
        self: Arc<Self>,
        recipe: Arc<Recipe>,
        test: Test,
    ) -> BoxFuture<'static, Result<Box<dyn Lease>, Error>>;

    /// Lists what tests have made here.
    fn list(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<TestDatabase>, Error>>;

    /// Removes what tests have made here and no test uses, and tells what that was.
    fn remove_unused(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<TestDatabase>, Error>>;

    /// Finds a database that holds what the recipe says, for a test that rolls back, and for others at the same time.
    fn share(
        self: Arc<Self>,
        recipe: Arc<Recipe>,
        test: Test,
    ) -> BoxFuture<'static, Result<Box<dyn Lease>, Error>>;
}

/// The database of tests that roll back: there is nothing to give back, and nothing to keep.
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(super) struct Shared(pub(super) DatabaseUrl);

#[cfg(any(feature = "mysql", feature = "postgres"))]
impl Lease for Shared {
    fn url(&self) -> &DatabaseUrl {
        &self.0
    }

    fn end(self: Box<Self>, _: bool) -> BoxFuture<'static, Option<String>> {
        Box::pin(async { None })
    }
}

/// The right of one test to one database.
///
/// Dropped without [`end`](Lease::end), because the test's future was dropped, it counts as ended and not kept.
pub(crate) trait Lease: Send + Sync {
    fn url(&self) -> &DatabaseUrl;

    /// The file that the URL names, where it names one.
    fn file(&self) -> Option<TestFile> {
        None
    }

    /// Connections to it that are there already.
    fn lent(&self) -> Option<LentToAny> {
        None
    }

    /// Gives the database back, or keeps it and says where it can be found.
    fn end(self: Box<Self>, keep: bool) -> BoxFuture<'static, Option<String>>;
}
