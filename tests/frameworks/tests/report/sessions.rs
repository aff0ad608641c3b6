//! The sessions that a service leaves on the server.

use std::time::Duration;

use poolhouse_tests::CaseDatabase;
use tokio::time::sleep;

/// The sessions of a service a second after its end.
pub(crate) struct Left {
    pub(crate) sessions: usize,
    /// The number that ended without the protocol's Terminate message.
    pub(crate) uncleanly: u64,
}

impl Left {
    /// Waits a second, and queries the server.
    pub(crate) async fn of(database: &CaseDatabase) -> anyhow::Result<Self> {
        sleep(Duration::from_secs(1)).await;
        let database = database.database()?;
        Ok(Self {
            sessions: database.sessions().await?.len(),
            uncleanly: database.ended_uncleanly().await?,
        })
    }
}
