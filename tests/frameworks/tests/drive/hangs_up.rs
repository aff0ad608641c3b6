//! A client that closes its connection inside its transaction.

use std::time::Duration;

use poolhouse_tests::CaseDatabase;
use tokio::time::timeout;

use super::client::{Answer, Client};
use super::service::{Exit, Limits, Service};
use super::witness::{committed, no_transaction};

#[derive(Debug)]
pub(crate) struct HungUp {
    /// Whether the handler was dropped; if not, it ran to its end.
    pub(crate) dropped: bool,
    pub(crate) committed: bool,
    /// The answer to the next request.
    pub(crate) next: Answer,
    pub(crate) exit: Exit,
}

/// After `patience`, a handler that is still in its transaction is released.
pub(crate) async fn observe(
    program: (&str, Client),
    database: &CaseDatabase,
    patience: Duration,
) -> anyhow::Result<HungUp> {
    let mut service = Service::start(program, &database.url(), Limits::default(), &[]).await?;
    let sent = service.begin_to_wait(1).await?;
    drop(sent);
    let ended = timeout(patience, no_transaction(database)).await;
    let dropped = ended.is_ok();
    if let Ok(ended) = ended {
        ended?;
    } else {
        service.ask("release", 0).await?;
        no_transaction(database).await?;
    }
    Ok(HungUp {
        dropped,
        committed: committed(database, 1).await?,
        next: service.ask("write", 2).await?,
        exit: service.end().await?,
    })
}
