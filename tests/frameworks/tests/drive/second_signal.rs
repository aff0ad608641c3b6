//! A second signal, while a request is open that does not end.

use std::time::Duration;

use poolhouse_tests::CaseDatabase;
use poolhouse_tests::program::Signal;
use tokio::time::{Instant, sleep};

use super::client::{Answer, Client};
use super::service::{Exit, Limits, Service};
use super::witness::committed;

#[derive(Debug)]
pub(crate) struct SecondSignal {
    pub(crate) answer: Answer,
    pub(crate) committed: bool,
    /// From the first signal to the end of the program.
    pub(crate) lasted: Duration,
    pub(crate) exit: Exit,
}

/// Sends the second signal when the service prints `noticed`, or a second after the first if `noticed` is `None`.
pub(crate) async fn observe(
    program: (&str, Client),
    database: &CaseDatabase,
    variables: &[(&str, &str)],
    noticed: Option<&str>,
) -> anyhow::Result<SecondSignal> {
    let mut service =
        Service::start(program, &database.url(), Limits::default(), variables).await?;
    let sent = service.begin_to_wait(1).await?;
    let start = Instant::now();
    service.running.signal(Signal::SIGTERM)?;
    match noticed {
        Some(words) => drop(service.running.line(words).await?),
        None => sleep(Duration::from_secs(1)).await,
    }
    let exit = service.end().await?;
    let lasted = start.elapsed();
    Ok(SecondSignal {
        answer: sent.answer().await?,
        committed: committed(database, 1).await?,
        lasted,
        exit,
    })
}
