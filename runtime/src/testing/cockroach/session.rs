//! The session that this process keeps, and its queries.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnection, Postgres};
use sqlx::{Connection, Row};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};
use tokio::time::timeout;

use crate::error::{Error, TestError, TestKind};
use crate::pool::{Connector, open_for};
use crate::settings::EngineSettings;
use crate::testing::server::{PREFIX, execute, is_hex, settings_for_leases};

/// The hexadecimal digits of a session's id: <https://www.cockroachlabs.com/docs/stable/show-sessions>.
const OF_SESSION: usize = 32;

/// How long the cluster may take to answer a ping.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Turns off the limits of the cluster and the role, because the databases of this process last as long as the session:
/// <https://www.cockroachlabs.com/docs/stable/session-variables>.
const WITHOUT_LIMITS: &str = "SELECT set_config(name, '0', false) \
    FROM unnest(ARRAY['statement_timeout', 'idle_session_timeout', 'idle_in_session_timeout', \
        'idle_in_transaction_session_timeout', 'transaction_timeout']) AS limits (name) \
    WHERE current_setting(name, true) IS NOT NULL";

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

/// The name of a session's database.
pub(super) fn database_name(session: &str, number: u64) -> String {
    format!("{PREFIX}{session}_{number}")
}

impl FoundOnCluster {
    /// Reads the name; `None` when it is not exactly one of a test database.
    fn new(name: String, comment: Option<String>) -> Option<Self> {
        let (session, number) = name.strip_prefix(PREFIX)?.split_once('_')?;
        let is_number = number
            .parse()
            .is_ok_and(|read: u64| read.to_string() == number);
        let is_of_test = is_hex(session, OF_SESSION) && is_number;
        let session = session.to_owned();
        is_of_test.then_some(Self {
            name,
            session,
            comment,
        })
    }
}

impl ClusterSession {
    pub(super) fn new(settings: &EngineSettings) -> Self {
        let mut settings = settings_for_leases(settings);
        settings.session = Some(WITHOUT_LIMITS.to_owned());
        Self {
            settings,
            open: Mutex::default(),
        }
    }

    /// Takes the session, for one task at a time.
    pub(super) async fn take(&self) -> Result<MappedMutexGuard<'_, OpenSession>, Error> {
        let mut open = self.open.lock().await;
        if let Some(there) = &mut *open {
            let answer = timeout(ANSWER_LIMIT, there.connection.ping()).await;
            if !matches!(answer, Ok(Ok(()))) {
                *open = None;
            }
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

    /// Lists the test databases of this user, who cannot see the sessions of others.
    pub(super) async fn databases(&mut self) -> sqlx::Result<Vec<FoundOnCluster>> {
        // <https://www.cockroachlabs.com/docs/stable/comment-on>
        let list = "SELECT datname::text, shobj_description(oid, 'pg_database') FROM pg_database \
            WHERE datdba = (SELECT oid FROM pg_roles WHERE rolname = current_user) ORDER BY 1";
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_test_databases_are_read() {
        let session = "1530c309b1d8d5f00000000000000001";
        let read = |name: &str| FoundOnCluster::new(name.to_owned(), None);
        for number in [0, 7, u64::MAX] {
            let found = read(&database_name(session, number)).unwrap();
            assert_eq!(found.session, session);
        }
        for other in [
            "poolhouse_app_2",
            "poolhouse_app_",
            "poolhouse_1530c309b1d8d5f00000000000000001_",
            "poolhouse_1530c309b1d8d5f00000000000000001_x",
            "poolhouse_1530c309b1d8d5f00000000000000001_01",
            "poolhouse_1530c309b1d8d5f00000000000000001_1_2",
            "poolhouse_1530c309b1d8d5f0000000000000001_1",
            "poolhouse_1530C309B1D8D5F00000000000000001_1",
        ] {
            assert!(read(other).is_none(), "{other}");
        }
    }
}
