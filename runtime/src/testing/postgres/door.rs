//! The way into a test's database: a connection that passes with the database from one test of this process to the next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnection, Postgres};
use sqlx::{Connection, Row};
use sqlx_core::transaction::TransactionManager;
use tokio::time::{sleep, timeout};

use super::counts::Counts;
use super::stock::Leased;
use crate::error::Error;
use crate::pool::{Asked, Connector, Lent, open_for};
use crate::settings::{DatabaseUrl, EngineSettings};
use crate::testing::recipe::Recipe;
use crate::testing::url;

/// How long clearing a session may take; a few round trips, and a rollback.
pub(super) const CLEAR_LIMIT: Duration = Duration::from_secs(2);

/// An open connection to a leased database.
pub(super) struct Door {
    pub(super) connection: PgConnection,
    /// What engines have asked its server.
    asked: Asked,
    /// The driver's options that it was opened with. Another test may ask for others.
    options: String,
    /// What the server has counted when the database was last known to be clean; `None` where it does not tell.
    pub(super) counts: Option<Counts>,
}

/// The driver's options of a recipe, without the database.
pub(super) fn options(recipe: &Recipe) -> Result<String, Error> {
    let anywhere = url::of_database(&recipe.settings, "")?;
    Ok(format!("{:?}", connector(recipe, anywhere)?.options()))
}

/// Opens connections as a test's engine does, for it to take over.
pub(super) fn connector(
    recipe: &Recipe,
    url: DatabaseUrl,
) -> Result<Arc<Connector<Postgres>>, Error> {
    let mut settings = EngineSettings::clone(&recipe.settings);
    settings.url = url;
    // The engine runs it when it takes the connection.
    settings.session = None;
    Ok(Arc::new(Connector::new(settings)?))
}

impl Door {
    pub(super) async fn open(
        recipe: &Recipe,
        options: String,
        leased: &Leased,
    ) -> Result<Self, Error> {
        let url = url::of_database(&recipe.settings, &leased.name)?;
        let connector = connector(recipe, url)?;
        let mut connection = open_for(&connector).await?.take();
        Counts::settle(&mut connection).await?;
        let counts = Counts::read(&mut connection, leased.oid).await?;
        Ok(Self {
            connection,
            asked: Asked::default(),
            options,
            counts,
        })
    }

    /// Whether it was opened with these options.
    pub(super) fn has(&self, options: &str) -> bool {
        self.options == options
    }

    /// Lends the connection to the engine of a test.
    pub(super) fn lend(self) -> LentDoor {
        LentDoor {
            lent: Lent::new(self.connection, self.asked, false),
            options: self.options,
            counts: self.counts,
        }
    }

    pub(super) async fn close(self) {
        close(self.connection).await;
    }
}

/// A door while a test has its connection.
pub(super) struct LentDoor {
    pub(super) lent: Arc<Lent<Postgres>>,
    options: String,
    counts: Option<Counts>,
}

impl LentDoor {
    /// The door with nothing of the test in its session, as if it had just been opened; `None` when that cannot be said.
    /// Its counts are those of a database in which nobody but the test's engine was, and in which no schema has changed.
    pub(super) async fn take_back(self) -> Option<Door> {
        let mut connections = self.lent.take_all().into_iter();
        let mut connection = connections.next()?;
        for surplus in connections {
            close(surplus).await;
        }
        let mut counts = self.counts;
        let opened = self.lent.opened();
        if let Some(counts) = &mut counts {
            counts.sessions += opened;
        }
        let cleared = timeout(CLEAR_LIMIT, clear(&mut connection, opened > 0)).await;
        if counts.is_some() && matches!(cleared, Ok(Ok(true))) {
            return Some(Door {
                connection,
                asked: self.lent.asked(),
                options: self.options,
                counts,
            });
        }
        if let Ok(Err(error)) = cleared {
            tracing::debug!(%error, "a test's session cannot be used again");
        }
        close(connection).await;
        None
    }
}

/// Removes all that belongs to a session; false when it cannot. Waits for the end of others, if there were others.
async fn clear(connection: &mut PgConnection, others: bool) -> sqlx::Result<bool> {
    if <Postgres as sqlx::Database>::TransactionManager::get_transaction_depth(connection) > 0 {
        return Ok(false);
    }
    connection.clear_cached_statements().await?;
    // Before the session's settings are reset, which may say that nothing is counted.
    if !Counts::settle(connection).await? {
        return Ok(false);
    }
    sqlx::raw_sql("DISCARD ALL")
        .execute(&mut *connection)
        .await?;
    let begun = Instant::now();
    while others && count_others(connection).await? > 0 {
        if begun.elapsed() > super::QUIET_LIMIT {
            return Ok(false);
        }
        sleep(Duration::from_millis(1)).await;
    }
    Ok(true)
}

async fn count_others(connection: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::raw_sql(
        "SELECT count(*) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
    )
    .fetch_one(connection)
    .await?
    .try_get(0)
}

/// Says goodbye, for a moment at most.
pub(super) async fn close(connection: PgConnection) {
    let _ = timeout(CLEAR_LIMIT, connection.close()).await;
}
