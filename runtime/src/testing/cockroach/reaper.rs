//! What killed processes have left, and what nobody needs any more.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::lease::KEPT;
use super::session::Found;
use super::{Site, now, today};
use crate::error::Error;
use crate::testing::background;
use crate::testing::inventory::{TestDatabase, TestDatabaseState};

/// How long the database of a failed test is kept, in seconds.
const KEEP: u64 = 24 * 60 * 60;

/// How long a database that tests share is kept after its last use, in days.
const SHARED_DAYS: u64 = 7;

impl Site {
    /// Looks once in the life of this process, in the background.
    pub(super) fn reap_once(self: &Arc<Self>) {
        if self.reaped.swap(true, Relaxed) {
            return;
        }
        let site = Arc::clone(self);
        // The background runtime is there: it has made a database.
        let _ = background::spawn(async move {
            if let Err(error) = site.remove(is_over).await {
                tracing::debug!(%error, "what other test runs have left is still there");
            }
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
        self.remove(|_, state| *state != TestDatabaseState::InUse)
            .await
    }

    async fn remove(
        &self,
        goes: impl Fn(&Found, &TestDatabaseState) -> bool,
    ) -> Result<Vec<TestDatabase>, Error> {
        let mut session = self.session.take().await?;
        // In this order, as above.
        let databases = session.databases().await?;
        let sessions = session.sessions().await?;
        let mut removed = Vec::new();
        for one in databases {
            let shown = shown(&one, &sessions);
            if goes(&one, &shown.state) {
                session.drop_database(&one.name).await?;
                removed.push(shown);
            }
        }
        Ok(removed)
    }
}

/// Whether a database goes by itself.
fn is_over(one: &Found, state: &TestDatabaseState) -> bool {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
    let comment = one.comment.as_deref().unwrap_or_default();
    match state {
        TestDatabaseState::Left => true,
        TestDatabaseState::Kept => {
            let since = number(
                comment
                    .strip_prefix(KEPT)
                    .and_then(|rest| rest.split_whitespace().next()),
            );
            since.is_none_or(|since| since + KEEP < now())
        }
        // One without a day has just got its name.
        TestDatabaseState::Ready => {
            number(Some(comment)).is_some_and(|day| day + SHARED_DAYS < today())
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
