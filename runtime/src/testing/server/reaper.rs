//! Lists and removes unused databases, left by ended processes, changed sources and failed tests.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::adaptor::Adaptor;
use super::database_server::DatabaseServer;
use super::kind::{DatabaseState, Found, PREFIX};
use crate::error::Error;
use crate::testing::background;
use crate::testing::retention::{is_past, is_stale};
use crate::testing::test_database::{TestDatabase, TestDatabaseState};

impl<K: Adaptor> DatabaseServer<K> {
    /// Removes unused databases in the background, once in each process.
    pub(super) fn reap_once(self: &Arc<Self>) {
        if self.reaped.swap(true, Relaxed) {
            return;
        }
        let server = Arc::clone(self);
        // The background runtime exists, because it has leased a database.
        let _ = background::spawn(async move {
            if let Err(error) = server.reap().await {
                tracing::debug!(%error, "what other test runs have left could not be removed");
            }
        });
    }

    async fn reap(&self) -> Result<(), Error> {
        // One process at a time, because another one would find the same databases.
        let key = format!("{PREFIX}reaper");
        if !self.session.take().await?.try_lock(&key).await? {
            return Ok(());
        }
        let removing = async {
            let mut session = self.session.take().await?;
            let incarnation = session.incarnation().to_owned();
            let found = session.list().await?;
            drop(session);
            for one in &found {
                // A database that cannot be removed, because another user owns it, must not stop the removal of the others.
                if is_over(one, &found, &incarnation)
                    && let Err(error) = self.remove(one).await
                {
                    tracing::debug!(%error, database = one.name, "a database could not be removed");
                }
            }
            Ok(())
        };
        let removed = removing.await;
        self.session.take().await?.unlock(&[key]).await?;
        removed
    }

    /// Lists the test databases with their states.
    pub(super) async fn inventory(&self) -> Result<Vec<TestDatabase>, Error> {
        let mut session = self.session.take().await?;
        let found = session.list().await?;
        let mut shown = Vec::new();
        for one in &found {
            let lock = one.lock();
            let is_free = session.try_lock(&lock).await?;
            if is_free {
                session.unlock(&[lock]).await?;
            }
            shown.push(show(one, is_free));
        }
        Ok(shown)
    }

    /// Removes all unused test databases.
    pub(super) async fn remove_all(&self) -> Result<Vec<TestDatabase>, Error> {
        self.give_up_kept().await;
        let found = self.session.take().await?.list().await?;
        let mut removed = Vec::new();
        let mut in_use = HashSet::new();
        // Templates after their clones, because a clone in use still needs its template.
        let (templates, clones): (Vec<_>, Vec<_>) =
            found.iter().partition(|one| one.number.is_empty());
        let mut outcome = Ok(());
        for one in clones {
            match self.remove(one).await {
                Ok(true) => removed.push(show(one, true)),
                Ok(false) => {
                    in_use.insert(&one.fingerprint);
                }
                // One that cannot be dropped does not keep the others.
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        for one in templates {
            if in_use.contains(&one.fingerprint) {
                continue;
            }
            match self.remove(one).await {
                Ok(true) => {
                    removed.push(show(one, true));
                    self.templates.forget(&one.fingerprint);
                }
                Ok(false) => {}
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome?;
        let mut session = self.session.take().await?;
        if session.list().await?.is_empty() {
            let removed = K::removed_all(session.connection()).await;
            session.seen(removed)?;
        }
        Ok(removed)
    }

    /// Drops a database; false when it is in use, or has changed since it was listed.
    async fn remove(&self, one: &Found) -> Result<bool, Error> {
        let lock = one.lock();
        let mut session = self.session.take().await?;
        if !session.try_lock(&lock).await? {
            return Ok(false);
        }
        // The database may have been leased and returned since it was listed.
        let is_same = session.list().await?.contains(one);
        drop(session);
        if !is_same {
            self.session.take().await?.unlock(&[lock]).await?;
            return Ok(false);
        }
        tracing::debug!(
            database = one.name,
            "removed, because no test run uses it any more"
        );
        self.session.drop_database(&one.name, &lock).await?;
        Ok(true)
    }
}

/// Whether a database is removed if its lock is free.
fn is_over(one: &Found, all: &[Found], current: &str) -> bool {
    match &one.state {
        DatabaseState::Building | DatabaseState::Leased | DatabaseState::Broken => true,
        DatabaseState::Template { day } => is_stale(*day),
        DatabaseState::Ready { incarnation } => {
            let of_template = |other: &&Found| {
                other.fingerprint == one.fingerprint
                    && matches!(other.state, DatabaseState::Template { day } if !is_stale(day))
            };
            incarnation != current || all.iter().find(of_template).is_none()
        }
        DatabaseState::Kept { since, test } => {
            let kept = all.iter().filter_map(|other| match &other.state {
                DatabaseState::Kept { since, test } => Some((*since, test.clone())),
                _ => None,
            });
            is_past(*since, test.as_ref(), kept)
        }
    }
}

fn show(one: &Found, is_free: bool) -> TestDatabase {
    let state = match one.state {
        DatabaseState::Kept { .. } => TestDatabaseState::Kept,
        DatabaseState::Template { .. } => TestDatabaseState::Template,
        DatabaseState::Leased if !is_free => TestDatabaseState::InUse,
        DatabaseState::Ready { .. } => TestDatabaseState::Ready,
        DatabaseState::Building | DatabaseState::Leased | DatabaseState::Broken => {
            TestDatabaseState::Left
        }
    };
    TestDatabase {
        name: one.name.clone(),
        state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::retention::{KeptTest, now, today};

    fn found(number: &str, state: DatabaseState) -> Found {
        Found {
            name: format!("poolhouse_a_{number}"),
            fingerprint: "a".to_owned(),
            number: number.to_owned(),
            state,
        }
    }

    #[test]
    fn what_is_of_use_stays() {
        let ready = |incarnation: &str| DatabaseState::Ready {
            incarnation: incarnation.to_owned(),
        };
        let kept = |since: u64, test: Option<&str>| DatabaseState::Kept {
            since,
            test: test.and_then(KeptTest::parse),
        };
        let all = [
            found("", DatabaseState::Template { day: today() }),
            found("1", ready("this")),
            found("2", ready("before")),
            found("3", DatabaseState::Leased),
            found("4", kept(now(), Some("second bands"))),
            found("5", kept(now() - 60, Some("first bands"))),
            found("6", kept(now() - 60, None)),
            // Another case of the test in the same run.
            found("9", kept(now() - 60, Some("second bands"))),
            found("7", kept(5, None)),
            found("8", DatabaseState::Broken),
        ];
        let over = |all: &[Found]| -> Vec<String> {
            let over = all.iter().filter(|one| is_over(one, all, "this"));
            over.map(|one| one.number.clone()).collect()
        };
        assert_eq!(over(&all), ["2", "3", "5", "7", "8"]);
        let old = [
            found("", DatabaseState::Template { day: today() - 8 }),
            found("1", ready("this")),
        ];
        assert_eq!(over(&old), ["", "1"]);
    }
}
