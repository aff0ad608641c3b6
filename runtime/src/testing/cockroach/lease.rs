//! A test's database, from lease to return.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use futures_core::future::BoxFuture;

use super::Cluster;
use crate::error::Error;
use crate::settings::DatabaseUrl;
use crate::testing::background;
use crate::testing::retention;
use crate::testing::test::Test;
use crate::testing::test_server::{Ending, Lease};
use crate::testing::url;

/// A database of this process, dropped with its last user.
pub(super) struct Database {
    cluster: Arc<Cluster>,
    name: String,
    is_kept: AtomicBool,
}

impl Database {
    pub(super) fn new(cluster: Arc<Cluster>, name: String) -> Self {
        Self {
            cluster,
            name,
            is_kept: AtomicBool::new(false),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if *self.is_kept.get_mut() {
            return;
        }
        let (cluster, name) = (Arc::clone(&self.cluster), self.name.clone());
        // In the background, whose runtime is there: it has made the database. Nobody waits for it.
        let _ = background::spawn(async move {
            let dropped = async {
                let mut session = cluster.session.take().await?;
                Ok::<_, Error>(session.drop_database(&name).await?)
            };
            if let Err(error) = dropped.await {
                tracing::warn!(%error, database = name, "a test's database could not be removed");
            }
        });
    }
}

/// The lease of one test.
pub(super) struct CockroachLease {
    database: Arc<Database>,
    test: Test,
    url: DatabaseUrl,
}

impl CockroachLease {
    pub(super) fn new(database: Arc<Database>, test: Test, url: DatabaseUrl) -> Self {
        Self {
            database,
            test,
            url,
        }
    }
}

impl Lease for CockroachLease {
    fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    fn end(self: Box<Self>, ending: Ending) -> BoxFuture<'static, Option<String>> {
        let Self {
            database,
            test,
            url,
        } = *self;
        if ending != Ending::Keep {
            if ending == Ending::Drop {
                database.cluster.take_out_of_use(&database.name);
            }
            return Box::pin(async { None });
        }
        database.is_kept.store(true, Relaxed);
        Box::pin(async move {
            let mark = retention::mark(&database.name, &test);
            let cluster = Arc::clone(&database.cluster);
            let marked =
                background::run(
                    async move { Ok(cluster.session.take().await?.execute(mark).await?) },
                );
            if let Err(error) = marked.await {
                tracing::warn!(%error, "a failed test's database could not be marked, and will be removed");
            }
            Some(url::for_people(&url))
        })
    }
}
