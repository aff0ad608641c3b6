//! A pool whose only connection is in use.

use std::time::Duration;

use poolhouse_tests::CaseDatabase;

use super::client::{Answer, Client};
use super::service::{Exit, Limits, Service};
use super::witness::committed;

#[derive(Debug)]
pub(crate) struct Exhausted {
    /// The answer to a request that gets no connection.
    pub(crate) answer: Answer,
    pub(crate) committed: bool,
    /// Readiness while the connection is in use.
    pub(crate) ready: Answer,
    /// The answer to the request that had the connection.
    pub(crate) holder: Answer,
    pub(crate) holder_committed: bool,
    /// The answer to the next request.
    pub(crate) next: Answer,
    pub(crate) exit: Exit,
}

pub(crate) async fn observe(
    program: (&str, Client),
    database: &CaseDatabase,
) -> anyhow::Result<Exhausted> {
    let limits = Limits {
        connections: Some(1),
        acquire_timeout: Some(Duration::from_millis(100)),
    };
    let mut service = Service::start(program, &database.url(), limits, &[]).await?;
    let sent = service.begin_to_wait(1).await?;
    let answer = service.ask("write", 2).await?;
    let ready = service.ask("ready", 0).await?;
    service.ask("release", 0).await?;
    Ok(Exhausted {
        answer,
        ready,
        holder: sent.answer().await?,
        next: service.ask("write", 3).await?,
        exit: service.end().await?,
        committed: committed(database, 2).await?,
        holder_committed: committed(database, 1).await?,
    })
}
