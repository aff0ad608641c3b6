//! A database that this process has made.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::session::ClusterSession;
use crate::error::Error;
use crate::testing::background;

/// A database of this process, dropped on the cluster with the last reference to this value.
pub(super) struct Database {
    session: Arc<ClusterSession>,
    name: String,
    is_kept: AtomicBool,
}

impl Database {
    pub(super) fn new(session: Arc<ClusterSession>, name: String) -> Self {
        Self {
            session,
            name,
            is_kept: AtomicBool::new(false),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Leaves the database on the cluster for inspection.
    pub(super) fn retain(&self) {
        self.is_kept.store(true, Relaxed);
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if *self.is_kept.get_mut() {
            return;
        }
        let (session, name) = (Arc::clone(&self.session), self.name.clone());
        // The background runtime exists, because it has made the database. No caller waits for the drop.
        let _ = background::spawn(async move {
            let dropped = async {
                let mut session = session.take().await?;
                Ok::<_, Error>(session.drop_database(&name).await?)
            };
            if let Err(error) = dropped.await {
                tracing::warn!(%error, database = name, "a test's database could not be removed");
            }
        });
    }
}
