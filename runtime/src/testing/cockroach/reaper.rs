//! What killed processes have left, and what nobody needs any more.

use std::sync::Arc;

use super::Site;
use super::session::Found;
use crate::error::Error;
use crate::testing::calendar::today;
use crate::testing::inventory::{TestDatabase, TestDatabaseState};
use crate::testing::keep::{KEPT, TEMPLATE_DAYS, is_forgotten};
use crate::testing::site;

impl Site {
    /// Looks once in the life of this process, in the background.
    pub(super) fn reap_once(self: &Arc<Self>) {
        let site = Arc::clone(self);
        site::reap_once(&self.reaped, || async move {
            site.remove(is_over).await.map(drop)
        });
    }

    pub(super) async fn inventory(&self) -> Result<Vec<TestDatabase>, Error> {
        let mut session = self.session.take().await?;
        // In this order: a database that is made meanwhile is not on the list, and one on the list has had its session.
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
        goes: impl Fn(&Found, &TestDatabaseState, &[Found]) -> bool,
    ) -> Result<Vec<TestDatabase>, Error> {
        let mut session = self.session.take().await?;
        // In this order, as above.
        let databases = session.databases().await?;
        let sessions = session.sessions().await?;
        let mut removed = Vec::new();
        for one in &databases {
            let shown = shown(one, &sessions);
            if goes(one, &shown.state, &databases) {
                session.drop_database(&one.name).await?;
                removed.push(shown);
            }
        }
        Ok(removed)
    }
}

/// Whether a database goes by itself.
fn is_over(one: &Found, state: &TestDatabaseState, all: &[Found]) -> bool {
    let comment = one.comment.as_deref().unwrap_or_default();
    match state {
        TestDatabaseState::Left => true,
        TestDatabaseState::Kept => {
            is_forgotten(comment, all.iter().filter_map(|one| one.comment.as_deref()))
        }
        // One without a day has just got its name.
        TestDatabaseState::Ready => {
            let day: Option<u64> = comment.parse().ok();
            day.is_some_and(|day| day + TEMPLATE_DAYS < today())
        }
        TestDatabaseState::InUse | TestDatabaseState::Template => false,
    }
}

fn shown(one: &Found, sessions: &[String]) -> TestDatabase {
    let is_kept = one
        .comment
        .as_ref()
        .is_some_and(|comment| comment.starts_with(KEPT));
    let state = match &one.session {
        Some(_) if is_kept => TestDatabaseState::Kept,
        Some(session) if sessions.contains(session) => TestDatabaseState::InUse,
        Some(_) => TestDatabaseState::Left,
        None => TestDatabaseState::Ready,
    };
    TestDatabase {
        name: one.name.clone(),
        state,
    }
}
