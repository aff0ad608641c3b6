//! A cluster as a test server.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use futures_core::future::BoxFuture;
use sqlx::Postgres;

use super::cluster::Cluster;
use super::lease::CockroachLease;
use crate::error::Error;
use crate::lock::lock;
use crate::settings::EngineSettings;
use crate::testing::background;
use crate::testing::options;
use crate::testing::recipe::Recipe;
use crate::testing::test::Test;
use crate::testing::test_database::TestDatabase;
use crate::testing::test_server::{Lease, Reservation, TestServer};
use crate::testing::url;

static CLUSTERS: LazyLock<Mutex<HashMap<String, Arc<Cluster>>>> = LazyLock::new(Mutex::default);

/// The cluster of these settings.
pub(in crate::testing) fn test_server(
    settings: &EngineSettings,
) -> Result<Arc<dyn TestServer>, Error> {
    let key = options::server_key::<Postgres>(settings)?;
    let mut clusters = lock(&CLUSTERS);
    let cluster = clusters
        .entry(key.clone())
        .or_insert_with(|| Arc::new(Cluster::new(key, settings)));
    Ok(Arc::clone(cluster) as Arc<dyn TestServer>)
}

impl TestServer for Cluster {
    fn identity(self: Arc<Self>) -> BoxFuture<'static, Result<String, Error>> {
        let key = self.key.clone();
        Box::pin(async { Ok(key) })
    }

    /// Reserves nothing, because a node accepts any number of connections unless its operator sets a limit:
    /// <https://www.cockroachlabs.com/docs/stable/cluster-settings>, `server.max_connections_per_gateway`.
    fn reserve(self: Arc<Self>, _: u32) -> BoxFuture<'static, Result<Reservation, Error>> {
        Box::pin(async { Ok(Box::new(()) as Reservation) })
    }

    fn lease(
        self: Arc<Self>,
        recipe: Arc<Recipe>,
        test: Test,
        rolls_back: bool,
    ) -> BoxFuture<'static, Result<Box<dyn Lease>, Error>> {
        Box::pin(background::run(async move {
            let database = if rolls_back {
                self.for_rollback(&recipe).await?
            } else {
                self.make(&recipe).await?
            };
            self.reap_once();
            let url = url::of_database(&recipe.settings, database.name())?;
            Ok(Box::new(CockroachLease::new(self, database, test, url)) as Box<dyn Lease>)
        }))
    }

    fn list(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<TestDatabase>, Error>> {
        Box::pin(background::run(async move { self.inventory().await }))
    }

    fn remove_unused(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<TestDatabase>, Error>> {
        Box::pin(background::run(async move { self.remove_all().await }))
    }
}
