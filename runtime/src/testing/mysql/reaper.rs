//! What killed processes, changed sources and failed tests have left.

use std::sync::Arc;

use super::{PREFIX, Site};
use crate::error::Error;
use crate::testing::calendar::{now, today};
use crate::testing::inventory::{TestDatabase, TestDatabaseState};
use crate::testing::keep::{KEEP, TEMPLATE_DAYS};
use crate::testing::site;

impl Site {
    /// Looks for remains in the background, once in the life of this process.
    pub(super) fn reap_once(self: &Arc<Self>) {
        let site = Arc::clone(self);
        site::reap_once(&self.reaped, || async move { site.reap().await });
    }

    async fn reap(&self) -> Result<(), Error> {
        let found = self.session.take().await?.databases(PREFIX).await?;
        for name in &found {
            let Some((base, _)) = remains(name, &found) else {
                continue;
            };
            let lock = [base];
            let mut session = self.session.take().await?;
            if session.lock(&lock).await?.is_empty() {
                continue;
            }
            // Whoever had the lock when we looked may have finished what was not complete then.
            let now = session.databases(PREFIX).await?;
            if let Some((base, marks)) = remains(name, &now) {
                tracing::debug!(
                    database = base,
                    "removed, because no test run uses it any more"
                );
                // The marks first: without them nobody takes the rest for complete.
                for name in marks.iter().chain([&base]) {
                    session
                        .execute(format!("DROP DATABASE IF EXISTS {name}"))
                        .await?;
                }
            }
            session.unlock(&lock).await?;
        }
        Ok(())
    }
}

impl Site {
    /// What is here, for people.
    pub(super) async fn inventory(&self) -> Result<Vec<TestDatabase>, Error> {
        let mut session = self.session.take().await?;
        let found = session.databases(PREFIX).await?;
        let mut shown = Vec::new();
        for name in bases(&found) {
            let lock = session.lock(std::slice::from_ref(name)).await?;
            shown.push(TestDatabase {
                name: name.clone(),
                state: state(name, &found, !lock.is_empty()),
            });
            session.unlock(&lock).await?;
        }
        Ok(shown)
    }

    /// Removes everything that nobody uses.
    pub(super) async fn remove_all(&self) -> Result<Vec<TestDatabase>, Error> {
        let mut session = self.session.take().await?;
        let found = session.databases(PREFIX).await?;
        let mut removed = Vec::new();
        for name in bases(&found) {
            let lock = session.lock(std::slice::from_ref(name)).await?;
            if lock.is_empty() {
                continue;
            }
            let marks = found.iter().filter(|other| mark(other, name).is_some());
            // The marks first: without them nobody takes the rest for complete.
            for name in marks.chain([name]) {
                let drop = format!("DROP DATABASE IF EXISTS {name}");
                session.execute(drop).await?;
            }
            session.unlock(&lock).await?;
            removed.push(TestDatabase {
                name: name.clone(),
                state: state(name, &found, true),
            });
        }
        Ok(removed)
    }
}

/// The databases that are no marks.
fn bases(all: &[String]) -> impl Iterator<Item = &String> {
    all.iter().filter(|name| {
        let state = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('_'));
        state.is_some_and(|(_, state)| {
            matches!(state, "template" | "shared")
                || state.bytes().all(|byte| byte.is_ascii_digit())
        })
    })
}

fn state(name: &str, all: &[String], is_free: bool) -> TestDatabaseState {
    let has = |kind: &str| {
        let mut marks = all.iter().filter_map(|other| mark(other, name));
        marks.any(|(of, _)| of == kind)
    };
    if has("kept") {
        TestDatabaseState::Kept
    } else if !is_free {
        TestDatabaseState::InUse
    } else if !has("done") {
        TestDatabaseState::Left
    } else if name.ends_with("_template") {
        TestDatabaseState::Template
    } else {
        TestDatabaseState::Ready
    }
}

/// The database that may be removed, if nobody holds its lock, and the marks that speak of it.
fn remains(name: &str, all: &[String]) -> Option<(String, Vec<String>)> {
    let (_, state) = name.strip_prefix(PREFIX)?.split_once('_')?;
    let marks: Vec<String> = all
        .iter()
        .filter(|other| mark(other, name).is_some())
        .cloned()
        .collect();
    let is_over = match state {
        "template" | "shared" => marks
            .iter()
            .filter_map(|other| mark(other, name))
            .all(|(_, day)| day + TEMPLATE_DAYS < today()),
        number if number.bytes().all(|byte| byte.is_ascii_digit()) => marks
            .iter()
            .filter_map(|other| mark(other, name))
            .all(|(_, second)| second + KEEP.as_secs() < now()),
        // A mark, which goes with what it speaks of; or none of ours.
        _ => return orphan(name, all),
    };
    is_over.then(|| (name.to_owned(), marks))
}

/// A mark whose database is gone.
fn orphan(name: &str, all: &[String]) -> Option<(String, Vec<String>)> {
    let base = ["_done_", "_kept_"]
        .iter()
        .find_map(|kind| Some(name.rsplit_once(kind)?.0))?;
    let is_there = all.iter().any(|other| other == base);
    (!is_there).then(|| (base.to_owned(), vec![name.to_owned()]))
}

/// What a mark says of a database, and its number.
fn mark<'a>(mark: &'a str, of: &str) -> Option<(&'a str, u64)> {
    let (kind, number) = mark.strip_prefix(of)?.strip_prefix('_')?.split_once('_')?;
    Some((kind, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_complete_kept_or_ours_is_told_apart() {
        let old = today() - TEMPLATE_DAYS - 1;
        let names = [
            "poolhouse_a_template".to_owned(),
            format!("poolhouse_a_template_done_{}", today()),
            "poolhouse_b_template".to_owned(),
            format!("poolhouse_b_template_done_{old}"),
            "poolhouse_a_0".to_owned(),
            "poolhouse_a_1".to_owned(),
            format!("poolhouse_a_1_kept_{}", now()),
            "poolhouse_a_2".to_owned(),
            "poolhouse_a_2_kept_5".to_owned(),
            "poolhouse_a_3_kept_5".to_owned(),
            "poolhouse_dev".to_owned(),
            "poolhouse_dev_notes".to_owned(),
        ];
        let removed: Vec<String> = names
            .iter()
            .filter_map(|name| remains(name, &names))
            .map(|(base, _)| base)
            .collect();
        let expected = [
            "poolhouse_b_template",
            "poolhouse_a_0",
            "poolhouse_a_2",
            "poolhouse_a_3",
        ];
        assert_eq!(removed, expected);
    }
}
