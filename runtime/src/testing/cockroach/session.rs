//! The session that this process keeps, and its queries.

use std::sync::Arc;

use sqlx::postgres::{PgConnection, Postgres};
use sqlx::{Connection, Row};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use crate::error::{Error, TestError, TestKind};
use crate::pool::{Connector, open_for};
use crate::settings::EngineSettings;
use crate::testing::server::{PREFIX, execute, settings_for_leases};

/// The connection, opened at its first use, and again after it broke.
pub(super) struct ClusterSession {
    settings: EngineSettings,
    open: Mutex<Option<OpenSession>>,
}

/// An open session.
pub(super) struct OpenSession {
    connection: PgConnection,
    id: Arc<str>,
}

/// A test database, as the cluster lists it.
pub(super) struct FoundOnCluster {
    pub(super) name: String,
    /// The session that the database belongs to.
    pub(super) session: String,
    pub(super) comment: Option<String>,
}

impl FoundOnCluster {
    /// Reads the name; `None` when it is not that of a test database.
    fn new(name: String, comment: Option<String>) -> Option<Self> {
        let (session, number) = name.strip_prefix(PREFIX)?.split_once('_')?;
        let session = session.to_owned();
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then_some(Self {
            name,
            session,
            comment,
        })
    }
}

impl ClusterSession {
    pub(super) fn new(settings: &EngineSettings) -> Self {
        Self {
            settings: settings_for_leases(settings),
            open: Mutex::default(),
        }
    }

    /// Takes the session, for one task at a time.
    pub(super) async fn take(&self) -> Result<MappedMutexGuard<'_, OpenSession>, Error> {
        let mut open = self.open.lock().await;
        if let Some(there) = &mut *open
            && there.connection.ping().await.is_err()
        {
            *open = None;
        }
        if open.is_none() {
            *open = Some(self.connect().await?);
        }
        let there = MutexGuard::map(open, |open| match open {
            Some(open) => open,
            None => unreachable!("it has just been opened"),
        });
        Ok(there)
    }

    async fn connect(&self) -> Result<OpenSession, Error> {
        let connector = Arc::new(Connector::<Postgres>::new(self.settings.clone())?);
        let opened = open_for(&connector).await?;
        let Some(session) = opened.session.clone() else {
            let what =
                "the session's id is not known, so that nothing would tell whose a database is";
            let cure = "Give the tests a url that leads to a node, past any pooler";
            return Err(TestError::new(&self.settings, TestKind::Url, what, cure).into());
        };
        Ok(OpenSession {
            connection: opened.take(),
            id: session.id,
        })
    }
}

impl OpenSession {
    pub(super) fn id(&self) -> Arc<str> {
        Arc::clone(&self.id)
    }

    pub(super) async fn execute(&mut self, sql: String) -> sqlx::Result<()> {
        execute(&mut self.connection, sql).await
    }

    pub(super) async fn drop_database(&mut self, name: &str) -> sqlx::Result<()> {
        // <https://www.cockroachlabs.com/docs/stable/drop-database>
        self.execute(format!("DROP DATABASE IF EXISTS {name} CASCADE"))
            .await
    }

    /// Lists the test databases.
    pub(super) async fn databases(&mut self) -> sqlx::Result<Vec<FoundOnCluster>> {
        // <https://www.cockroachlabs.com/docs/stable/comment-on>
        let list = "SELECT datname::text, shobj_description(oid, 'pg_database') FROM pg_database ORDER BY 1";
        let rows = sqlx::raw_sql(list).fetch_all(&mut self.connection).await?;
        let mut found = Vec::new();
        for row in rows {
            found.extend(FoundOnCluster::new(row.try_get(0)?, row.try_get(1)?));
        }
        Ok(found)
    }

    /// Lists the sessions on the cluster that this user can see.
    pub(super) async fn sessions(&mut self) -> sqlx::Result<Vec<String>> {
        // <https://www.cockroachlabs.com/docs/stable/show-sessions>
        let list = "SELECT session_id FROM [SHOW CLUSTER SESSIONS]";
        let rows = sqlx::raw_sql(list).fetch_all(&mut self.connection).await?;
        rows.iter().map(|row| row.try_get(0)).collect()
    }
}
