//! The connection that this process keeps to a server: it holds the locks of all leases.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::postgres::{PgConnection, Postgres};
use sqlx::{AssertSqlSafe, Row};
use tokio::sync::OwnedMutexGuard;

use super::locks;
use crate::backend::Backend;
use crate::error::{Error, TestError};
use crate::pool::{Connector, open_for};
use crate::settings::EngineSettings;
use crate::testing::keep::KEPT;
use crate::testing::site::for_leases;
use crate::testing::url;

/// Databases to connect to for work on other databases. Locks are known within one database only, so that every process
/// must meet in the same one; every server has the first of them, unless somebody has removed it.
const MEETING_PLACE: &str = "postgres";

/// The connection, opened when it is first needed and again when it broke.
pub(super) struct Session {
    settings: EngineSettings,
    open: Arc<tokio::sync::Mutex<Option<Open>>>,
    /// The locks that this process holds. The server would give them to the same session once more.
    held: Mutex<BTreeSet<i64>>,
}

struct Open {
    connection: PgConnection,
    /// What the server adds to every fingerprint.
    server: String,
    broken: bool,
}

/// The connection while one task uses it.
pub(super) struct InUse<'a> {
    session: &'a Session,
    open: OwnedMutexGuard<Option<Open>>,
}

impl Session {
    pub(super) fn new(settings: &EngineSettings) -> Self {
        Self {
            settings: for_leases(settings),
            open: Arc::default(),
            held: Mutex::default(),
        }
    }

    /// Takes the connection, once others have finished with it.
    pub(super) async fn take(&self) -> Result<InUse<'_>, Error> {
        let mut open = Arc::clone(&self.open).lock_owned().await;
        if open.as_ref().is_none_or(|open| open.broken) {
            *open = Some(self.connect().await?);
        }
        Ok(InUse {
            session: self,
            open,
        })
    }

    /// A further connection, for work that takes long.
    pub(super) async fn another(&self, database: &str) -> Result<PgConnection, Error> {
        let mut settings = self.settings.clone();
        settings.url = url::of_database(&settings, database)?;
        let connector = Arc::new(Connector::<Postgres>::new(settings)?);
        let connection = open_for(&connector).await?.take();
        let Some(dialect) = connector.another() else {
            return Ok(connection);
        };
        let what = format!(
            "{} answers, which is tested on in another way",
            dialect.name
        );
        let cure = format!("Begin the url with {}://", dialect.schemes[0]);
        Err(TestError::new(&self.settings, what, cure).into())
    }

    /// The database in which processes meet.
    pub(super) async fn meeting_place(&self) -> Result<String, Error> {
        Ok(match self.reach(MEETING_PLACE).await {
            Some(_) => MEETING_PLACE.to_owned(),
            None => url::database(&self.settings)?.unwrap_or_else(|| MEETING_PLACE.to_owned()),
        })
    }

    /// A connection to a database that may not be there, or not be open to us.
    async fn reach(&self, database: &str) -> Option<PgConnection> {
        let mut settings = self.settings.clone();
        settings.url = url::of_database(&settings, database).ok()?;
        let connector = Arc::new(Connector::<Postgres>::new(settings).ok()?);
        let connection = connector.connect_for().await.ok()?.take();
        connector.another().is_none().then_some(connection)
    }

    async fn connect(&self) -> Result<Open, Error> {
        let mut connection = if let Some(connection) = self.reach(MEETING_PLACE).await {
            connection
        } else {
            // It is not there, or the server is not: the configured database tells, with a message about itself.
            let own = url::database(&self.settings)?;
            self.another(own.as_deref().unwrap_or(MEETING_PLACE))
                .await?
        };
        let server = sqlx::query_scalar(
            "SELECT concat_ws(' ', current_setting('server_version_num'), current_user, current_database())",
        )
        .fetch_one(&mut connection)
        .await?;
        // After a broken connection the leases are still ours, unless another process was quicker.
        for key in self.held() {
            sqlx::query("SELECT pg_try_advisory_lock($1)")
                .bind(key)
                .execute(&mut connection)
                .await?;
        }
        Ok(Open {
            connection,
            server,
            broken: false,
        })
    }

    /// The locks that this process holds.
    fn held(&self) -> Vec<i64> {
        self.lock().iter().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<i64>> {
        // Nothing panics while the lock is held.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InUse<'_> {
    /// What the server adds to every fingerprint: its version, the role that owns the database, and the database in which
    /// locks are known.
    pub(super) fn server(&mut self) -> &str {
        &self.open().server
    }

    fn open(&mut self) -> &mut Open {
        match &mut *self.open {
            Some(open) => open,
            None => unreachable!("`Session::take` has opened it"),
        }
    }

    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.open().connection
    }

    /// Passes a result on, and notes when it says that the connection is gone.
    pub(super) fn seen<T>(&mut self, result: sqlx::Result<T>) -> sqlx::Result<T> {
        if result.as_ref().err().is_some_and(Postgres::ends_session) {
            self.open().broken = true;
        }
        result
    }

    /// Runs one statement without an answer.
    pub(super) async fn execute(&mut self, sql: String) -> sqlx::Result<()> {
        let run = sqlx::raw_sql(AssertSqlSafe(sql)).execute(self.connection());
        let result = run.await.map(drop);
        self.seen(result)
    }

    /// Takes as many of these locks as are free and not ours, at most `most` of them, and tells which.
    pub(super) async fn lock_some(&mut self, keys: &[i64], most: usize) -> sqlx::Result<Vec<i64>> {
        let mine = self.session.held();
        let rows = sqlx::query(
            "SELECT key FROM unnest($1::int8[]) key \
             WHERE key <> ALL ($2::int8[]) AND pg_try_advisory_lock(key) LIMIT $3",
        )
        .bind(keys)
        .bind(mine)
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_all(self.connection())
        .await;
        let rows = self.seen(rows)?;
        let locked: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        self.session.lock().extend(&locked);
        Ok(locked)
    }

    /// Takes one lock, if it is free and not ours.
    pub(super) async fn try_lock(&mut self, key: i64) -> sqlx::Result<bool> {
        Ok(!self.lock_some(&[key], 1).await?.is_empty())
    }

    pub(super) async fn unlock(&mut self, keys: &[i64]) -> sqlx::Result<()> {
        let result = sqlx::query("SELECT pg_advisory_unlock(key) FROM unnest($1::int8[]) key")
            .bind(keys)
            .execute(self.connection())
            .await;
        let mut held = self.session.lock();
        for key in keys {
            held.remove(key);
        }
        drop(held);
        self.seen(result).map(drop)
    }

    /// Finds databases by the beginning of their names and takes the lock of one that is free. Databases that are kept
    /// for a person are left alone.
    pub(super) async fn lease_one(&mut self, prefixes: &[String]) -> sqlx::Result<Option<Locked>> {
        let mine = self.session.held();
        // The inner query is done first, so that nothing but candidates is locked.
        let row = sqlx::query(
            "SELECT oid, datname, comment, txid_current() FROM ( \
                SELECT oid::int8 AS oid, datname::text AS datname, shobj_description(oid, 'pg_database') AS comment \
                FROM pg_database WHERE EXISTS (SELECT FROM unnest($1::text[]) p WHERE starts_with(datname, p)) \
                AND datconnlimit <> -2 AND $2 | oid::int8 <> ALL ($3::int8[]) \
                ORDER BY oid OFFSET 0 \
             ) AS candidate WHERE (comment IS NULL OR NOT starts_with(comment, $4)) \
             AND pg_try_advisory_lock($2 | oid) LIMIT 1",
        )
        .bind(prefixes)
        .bind(locks::LEASE)
        .bind(mine)
        .bind(KEPT)
        .fetch_optional(self.connection())
        .await;
        let Some(row) = self.seen(row)? else {
            return Ok(None);
        };
        let oid: i64 = row.get(0);
        self.session.lock().insert(locks::lease(oid));
        let now: i64 = row.get(3);
        Ok(Some(Locked {
            oid,
            name: row.get(1),
            comment: row.get(2),
            now: now.unsigned_abs(),
        }))
    }
}

/// A database whose lock this process has.
pub(super) struct Locked {
    pub(super) oid: i64,
    pub(super) name: String,
    pub(super) comment: Option<String>,
    /// A transaction after the lock was taken.
    pub(super) now: u64,
}
