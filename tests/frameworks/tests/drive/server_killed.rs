//! A database server that is killed and restarted.

use std::time::Duration;

use anyhow::ensure;
use poolhouse_tests::{CaseDatabase, PrivateServer, Stop, eventually};

use super::client::{Answer, Client};
use super::service::{Exit, Limits, Service};
use super::witness::committed;

#[derive(Debug)]
pub(crate) struct ServerKilled {
    /// The answer to the request whose transaction was open.
    pub(crate) open: Answer,
    /// The answer to a request while the server is down.
    pub(crate) meanwhile: Answer,
    /// Readiness while the server is down.
    pub(crate) ready: Answer,
    /// The answer to a request once the service is ready again.
    pub(crate) afterwards: Answer,
    /// Whether exactly the requests that were answered with 200 are committed.
    pub(crate) truthful: bool,
    pub(crate) exit: Exit,
}

pub(crate) async fn observe(
    program: (&str, Client),
    database: &CaseDatabase,
    server: &mut PrivateServer,
) -> anyhow::Result<ServerKilled> {
    let limits = Limits {
        acquire_timeout: Some(Duration::from_secs(2)),
        ..Limits::default()
    };
    let mut service = Service::start(program, &database.url(), limits, &[]).await?;
    let sent = service.begin_to_wait(1).await?;
    let before = service.ask("write", 2).await?;

    server.stop(Stop::Crash).await?;
    service.ask("release", 0).await?;
    let open = sent.answer().await?;
    let meanwhile = service.ask("write", 3).await?;
    let ready = service.ask("ready", 0).await?;

    server.start().await?;
    eventually("it is ready again", async || {
        let ready = service.ask("ready", 0).await?;
        ensure!(ready.status == Some(200), "{ready:?}");
        Ok(())
    })
    .await?;
    let afterwards = service.ask("write", 4).await?;
    let exit = service.end().await?;
    let mut truthful = true;
    for (key, answer) in [(1, &open), (2, &before), (3, &meanwhile), (4, &afterwards)] {
        let committed = committed(database, key).await?;
        truthful &= committed == (answer.status == Some(200));
    }
    Ok(ServerKilled {
        open,
        meanwhile,
        ready,
        afterwards,
        truthful,
        exit,
    })
}
