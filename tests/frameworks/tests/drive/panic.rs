//! A handler that panics in its transaction.

use poolhouse_tests::CaseDatabase;

use super::client::{Answer, Client};
use super::service::{Exit, Limits, Service};
use super::witness::{committed, no_transaction};

#[derive(Debug)]
pub(crate) struct Panicked {
    pub(crate) answer: Answer,
    pub(crate) committed: bool,
    /// The answer to the next request.
    pub(crate) next: Answer,
    pub(crate) exit: Exit,
}

pub(crate) async fn observe(
    program: (&str, Client),
    database: &CaseDatabase,
) -> anyhow::Result<Panicked> {
    let service = Service::start(program, &database.url(), Limits::default(), &[]).await?;
    let answer = service.ask("panic", 1).await?;
    no_transaction(database).await?;
    Ok(Panicked {
        answer,
        committed: committed(database, 1).await?,
        next: service.ask("write", 2).await?,
        exit: service.end().await?,
    })
}
