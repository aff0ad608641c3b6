//! Lists and removes unused databases.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::cluster::Cluster;
use super::session::FoundOnCluster;
use crate::error::Error;
use crate::testing::background;
use crate::testing::retention::{self, KeptTest, is_past};
use crate::testing::test_database::{TestDatabase, TestDatabaseState};

impl Cluster {
    /// Removes unused databases in the background, once in each process.
    pub(super) fn reap_once(self: &Arc<Self>) {
        if self.reaped.swap(true, Relaxed) {
            return;
        }
        let cluster = Arc::clone(self);
        // The background runtime exists, because it has leased a database.
        let _ = background::spawn(async move {
            if let Err(error) = cluster.remove(is_over).await {
                tracing::debug!(%error, "what other test runs have left could not be removed");
            }
        });
    }

    pub(super) async fn inventory(&self) -> Result<Vec<TestDatabase>, Error> {
        let mut session = self.session.take().await?;
        // Databases before sessions: the list lacks databases made meanwhile, and those on it already had their session.
        let databases = session.databases().await?;
        let sessions = session.sessions().await?;
        Ok(databases.iter().map(|one| shown(one, &sessions)).collect())
    }

    pub(super) async fn remove_all(&self) -> Result<Vec<TestDatabase>, Error> {
        self.remove(|_, state, _| *state != TestDatabaseState::InUse)
            .await
    }

    async fn remove(
        &self,
        goes: impl Fn(&FoundOnCluster, &TestDatabaseState, &[FoundOnCluster]) -> bool,
    ) -> Result<Vec<TestDatabase>, Error> {
        let mut session = self.session.take().await?;
        // Databases before sessions, as above.
        let databases = session.databases().await?;
        let sessions = session.sessions().await?;
        let mut removed = Vec::new();
        let mut outcome = Ok(());
        for one in &databases {
            let shown = shown(one, &sessions);
            if !goes(one, &shown.state, &databases) {
                continue;
            }
            match session.drop_database(&one.name).await {
                Ok(()) => removed.push(shown),
                // One that cannot be dropped does not keep the others.
                Err(error) => {
                    tracing::debug!(%error, database = one.name, "a database could not be removed");
                    outcome = outcome.and(Err(error));
                }
            }
        }
        outcome?;
        Ok(removed)
    }
}

/// Whether the reaper removes a database.
fn is_over(one: &FoundOnCluster, state: &TestDatabaseState, all: &[FoundOnCluster]) -> bool {
    match (state, one.kept()) {
        (TestDatabaseState::Kept, Some((since, test))) => {
            let kept = all.iter().filter_map(FoundOnCluster::kept);
            is_past(since, test.as_ref(), kept)
        }
        (state, _) => *state == TestDatabaseState::Left,
    }
}

fn shown(one: &FoundOnCluster, sessions: &[String]) -> TestDatabase {
    let state = if one.kept().is_some() {
        TestDatabaseState::Kept
    } else if sessions.contains(&one.session) {
        TestDatabaseState::InUse
    } else {
        TestDatabaseState::Left
    };
    TestDatabase {
        name: one.name.clone(),
        state,
    }
}

impl FoundOnCluster {
    /// Since when the database is kept, in seconds since 1970, and its test.
    fn kept(&self) -> Option<(u64, Option<KeptTest>)> {
        retention::read(self.comment.as_deref()?)
    }
}
