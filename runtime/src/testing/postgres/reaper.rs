//! What killed processes, changed sources and failed tests have left.

use std::collections::HashSet;
use std::sync::Arc;

use sqlx::Row;

use super::names::{self, State};
use super::template::{execute, read_note};
use super::{Site, locks};
use crate::error::Error;
use crate::testing::calendar::today;
use crate::testing::inventory::{TestDatabase, TestDatabaseState};
use crate::testing::keep::{KEPT, TEMPLATE_DAYS, is_forgotten};
use crate::testing::site;

/// So many used databases are left to the tests that begin next, which make them ready again: a run on eight threads
/// leaves no more when it ends. What several killed runs have left adds up to more.
const ENOUGH_USED: usize = 8;

/// A database of ours, as the server lists it.
struct Found {
    oid: i64,
    name: String,
    /// A test has it, or had a moment ago.
    leased: bool,
    /// An interrupted `DROP DATABASE` has left it: nobody can connect.
    invalid: bool,
    comment: Option<String>,
}

impl Site {
    /// Looks for remains in the background, once in the life of this process.
    pub(super) fn reap_once(self: &Arc<Self>) {
        let site = Arc::clone(self);
        site::reap_once(&self.reaped, || async move { site.reap().await });
    }

    async fn reap(&self) -> Result<(), Error> {
        // One process at a time; whoever comes meanwhile would find the same.
        if !self.session.take().await?.try_lock(locks::REAPER).await? {
            return Ok(());
        }
        let found = self.found().await?;
        for one in &found {
            if let Some(lock) = remains(one, &found) {
                self.remove(one, lock).await?;
            }
        }
        self.session.take().await?.unlock(&[locks::REAPER]).await?;
        Ok(())
    }

    /// The databases of ours, the newest first.
    async fn found(&self) -> Result<Vec<Found>, Error> {
        let mut session = self.session.take().await?;
        let rows = sqlx::query(
            "SELECT oid::int8, datname::text, datconnlimit = -2, shobj_description(oid, 'pg_database'), \
                oid IN (SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND classid::int8 = $2) \
             FROM pg_database WHERE starts_with(datname, $1) ORDER BY oid DESC",
        )
        .bind(names::PREFIX)
        .bind(locks::LEASE >> 32)
        .fetch_all(session.connection())
        .await;
        let rows = session.seen(rows)?;
        let found = rows.iter().map(|row| Found {
            oid: row.get(0),
            name: row.get(1),
            invalid: row.get(2),
            comment: row.get(3),
            leased: row.get(4),
        });
        Ok(found.collect())
    }

    /// What is here, for people.
    pub(super) async fn inventory(&self) -> Result<Vec<TestDatabase>, Error> {
        Ok(self.found().await?.iter().filter_map(shown).collect())
    }

    /// Removes everything that nobody uses.
    pub(super) async fn remove_all(&self) -> Result<Vec<TestDatabase>, Error> {
        let found = self.found().await?;
        let mut removed = Vec::new();
        let mut in_use = HashSet::new();
        // Templates after their copies, whose users still want them. Only the lock of a copy tells whether it is in use:
        // the session of a process that has just ended may have been there when we looked and be gone now.
        let (templates, copies): (Vec<_>, Vec<_>) = found
            .iter()
            .filter_map(|one| Some((one, names::parse(&one.name)?)))
            .partition(|(_, (_, state))| matches!(state, State::Building | State::Template));
        for (one, (fingerprint, _)) in copies {
            if self.remove(one, locks::lease(one.oid)).await? {
                removed.extend(shown(one));
            } else {
                in_use.insert(fingerprint);
            }
        }
        for (one, (fingerprint, _)) in templates {
            if !in_use.contains(fingerprint)
                && self.remove(one, locks::template(fingerprint)).await?
            {
                removed.extend(shown(one));
            }
        }
        Ok(removed)
    }

    /// Drops a database, unless somebody holds its lock; then it says false.
    async fn remove(&self, one: &Found, lock: i64) -> Result<bool, Error> {
        let Found { oid, name, .. } = one;
        let mut session = self.session.take().await?;
        if !session.try_lock(lock).await? {
            return Ok(false);
        }
        // Its name may be another one by now, and its lock have been taken and given back since we looked.
        let same = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM pg_database WHERE oid = $1::oid AND datname = $2)",
        )
        .bind(oid)
        .bind(name)
        .fetch_one(session.connection())
        .await;
        let same: bool = session.seen(same)?;
        drop(session);
        if same {
            tracing::debug!(
                database = name,
                "removed, because no test run uses it any more"
            );
            let mut worker = self.worker().await?;
            execute(
                &mut worker,
                format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            )
            .await?;
            self.put_back(worker);
        }
        self.session.take().await?.unlock(&[lock]).await?;
        Ok(same)
    }
}

fn shown(one: &Found) -> Option<TestDatabase> {
    let state = match names::parse(&one.name)?.1 {
        State::Template => TestDatabaseState::Template,
        State::Ready | State::Shared => TestDatabaseState::Ready,
        State::Used(_) if kept(one).is_some() => TestDatabaseState::Kept,
        State::Used(_) if one.leased => TestDatabaseState::InUse,
        State::Building | State::Used(_) => TestDatabaseState::Left,
    };
    let name = one.name.clone();
    Some(TestDatabase { name, state })
}

/// The lock under which a database may be removed, when it is one of the remains.
fn remains(one: &Found, all: &[Found]) -> Option<i64> {
    let (fingerprint, state) = names::parse(&one.name)?;
    let lease = locks::lease(one.oid);
    let has_template = all
        .iter()
        .any(|other| other.name == names::template(fingerprint) && !is_stale(other));
    match state {
        State::Building => Some(locks::template(fingerprint)),
        State::Template => (one.invalid || is_stale(one)).then(|| locks::template(fingerprint)),
        State::Ready | State::Shared => (one.invalid || !has_template).then_some(lease),
        State::Used(_) => match kept(one) {
            Some(comment) => is_forgotten(comment, comments(all)).then_some(lease),
            None => (one.invalid || !has_template || is_surplus(one, all)).then_some(lease),
        },
    }
}

/// Whether a database that nobody has returned is one more than the next tests can want.
fn is_surplus(one: &Found, all: &[Found]) -> bool {
    let is_used = |found: &&Found| match names::parse(&found.name) {
        Some((_, State::Used(_))) => !found.leased && kept(found).is_none(),
        _ => false,
    };
    let older = all.iter().filter(|other| other.oid < one.oid);
    is_used(&one) && older.filter(is_used).count() >= ENOUGH_USED
}

/// Whether no test has used a template for a long time.
fn is_stale(template: &Found) -> bool {
    let note = template.comment.as_deref().and_then(read_note);
    note.is_none_or(|(day, _)| day + TEMPLATE_DAYS < today())
}

fn comments(all: &[Found]) -> impl Iterator<Item = &str> {
    all.iter().filter_map(|one| one.comment.as_deref())
}

/// The comment of a database that is kept for a person.
fn kept(one: &Found) -> Option<&str> {
    one.comment
        .as_deref()
        .filter(|comment| comment.starts_with(KEPT))
}
