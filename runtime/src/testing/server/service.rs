//! A database server as a test server.

use std::sync::Arc;

use futures_core::future::BoxFuture;

use super::adaptor::Adaptor;
use super::database_server::DatabaseServer;
use crate::error::Error;
use crate::testing::background;
use crate::testing::recipe::Recipe;
use crate::testing::test::Test;
use crate::testing::test_database::TestDatabase;
use crate::testing::test_server::{Lease, Reservation, TestServer};

impl<K: Adaptor> TestServer for DatabaseServer<K> {
    fn identity(self: Arc<Self>) -> BoxFuture<'static, Result<String, Error>> {
        Box::pin(background::run(async move {
            Ok(self.session.identity().await?.incarnation)
        }))
    }

    fn reserve(
        self: Arc<Self>,
        connections: u32,
    ) -> BoxFuture<'static, Result<Reservation, Error>> {
        Box::pin(background::run(self.reserve_slots(connections)))
    }

    fn lease(
        self: Arc<Self>,
        recipe: Arc<Recipe>,
        test: Test,
        rolls_back: bool,
    ) -> BoxFuture<'static, Result<Box<dyn Lease>, Error>> {
        Box::pin(background::run(async move {
            let template = self.templates.get(&self.session, &recipe).await?;
            let lease = self.lease_database(&recipe, template, test, rolls_back);
            let lease = lease.await?;
            self.reap_once();
            Ok(Box::new(lease) as Box<dyn Lease>)
        }))
    }

    fn list(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<TestDatabase>, Error>> {
        Box::pin(background::run(async move { self.inventory().await }))
    }

    fn remove_unused(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<TestDatabase>, Error>> {
        Box::pin(background::run(async move { self.remove_all().await }))
    }
}
