//! A test's database, from lease to return.

use std::sync::Arc;

use futures_core::future::BoxFuture;

use super::cluster::Cluster;
use super::database::Database;
use crate::settings::DatabaseUrl;
use crate::testing::background;
use crate::testing::retention;
use crate::testing::test::Test;
use crate::testing::test_server::{Lease, LeaseEnd, Retained};
use crate::testing::url;

/// The lease of one test.
pub(super) struct CockroachLease {
    cluster: Arc<Cluster>,
    database: Arc<Database>,
    test: Test,
    url: DatabaseUrl,
    ended: bool,
}

impl CockroachLease {
    pub(super) fn new(
        cluster: Arc<Cluster>,
        database: Arc<Database>,
        test: Test,
        url: DatabaseUrl,
    ) -> Self {
        Self {
            cluster,
            database,
            test,
            url,
            ended: false,
        }
    }
}

impl Lease for CockroachLease {
    fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    fn end(mut self: Box<Self>, ending: LeaseEnd) -> BoxFuture<'static, Option<Retained>> {
        self.ended = true;
        if ending != LeaseEnd::Retain {
            if ending == LeaseEnd::Drop {
                self.cluster.take_out_of_use(self.database.name());
            }
            return Box::pin(async { None });
        }
        self.database.retain();
        Box::pin(async move {
            let mark = retention::mark(self.database.name(), &self.test);
            let cluster = Arc::clone(&self.cluster);
            let marked =
                background::run(
                    async move { Ok(cluster.session.take().await?.execute(mark).await?) },
                );
            let marked = marked.await.map(|()| url::for_people(&self.url));
            // The next run removes a database without a mark.
            Some(marked.map_err(|error| error.to_string()))
        })
    }
}

impl Drop for CockroachLease {
    fn drop(&mut self) {
        if !self.ended {
            // The test's future was dropped, so that nobody has checked whether its transaction stayed open.
            self.cluster.take_out_of_use(self.database.name());
        }
    }
}
