//! SIGTERM while 64 clients have slow requests open.

use poolhouse_tests::CaseDatabase;

use super::client::Client;
use super::load::{Load, Requests};
use super::service::{Exit, Limits, Service};

#[derive(Debug)]
pub(crate) struct UnderLoad {
    pub(crate) requests: Requests,
    pub(crate) exit: Exit,
}

pub(crate) async fn observe(
    program: (&str, Client),
    database: &CaseDatabase,
) -> anyhow::Result<UnderLoad> {
    let limits = Limits {
        connections: Some(32),
        ..Limits::default()
    };
    let service = Service::start(program, &database.url(), limits, &[]).await?;
    let load = Load::of(&service);
    load.is_on().await?;
    let exit = service.end().await?;
    let requests = load.end(&exit.said, database).await?;
    Ok(UnderLoad { requests, exit })
}
