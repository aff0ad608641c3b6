//! A service as a program, in front of a database of its own.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use poolhouse_tests::program::{Ended, Running, Signal};
use poolhouse_tests::{CaseDatabase, Program, eventually};
use sqlx::Postgres;

use crate::client::{Answer, Client};

/// How a framework ends what cannot go on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Framework {
    /// The name of the program.
    pub(crate) program: &'static str,
    pub(crate) client: Client,
    /// The answer after a panic; `None` where the connection is closed without one.
    pub(crate) panicked: Option<u16>,
    /// Whether a client that hangs up ends its handler.
    pub(crate) drops_handlers: bool,
}

pub(crate) struct Service {
    pub(crate) framework: Framework,
    pub(crate) running: Running,
    pub(crate) address: SocketAddr,
}

pub(crate) async fn table(database: &CaseDatabase) -> anyhow::Result<()> {
    database
        .run::<Postgres>("CREATE TABLE entry (id INTEGER PRIMARY KEY)")
        .await
}

impl Service {
    pub(crate) async fn start(
        framework: Framework,
        url: &str,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let mut program = Program::new(env!("CARGO_BIN_EXE_service"))?
            .argument(framework.program)
            .variable("DATABASE_URL", url);
        for (name, value) in variables {
            program = program.variable(name, *value);
        }
        let mut running = program.start()?;
        let line = running.line("listening on http://").await?;
        let address = line.rsplit('/').next().context("an address")?.parse()?;
        Ok(Self {
            framework,
            running,
            address,
        })
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn ask(&self, what: &str, key: i32) -> anyhow::Result<Answer> {
        let client = self.framework.client;
        client.send(self.address, what, key).await?.answer().await
    }

    /// Sends a request and waits until its handler is at work.
    pub(crate) async fn begin(
        &mut self,
        what: &str,
        key: i32,
    ) -> anyhow::Result<crate::client::Sent> {
        let client = self.framework.client;
        let sent = client.send(self.address, what, key).await?;
        let word = if what == "wait" { "waits" } else { "begun" };
        self.running.line(&format!("{word} {key}.")).await?;
        Ok(sent)
    }

    /// Ends it with SIGTERM and no request open; its code is its own.
    pub(crate) async fn end(self) -> anyhow::Result<Ended> {
        self.running.signal(Signal::SIGTERM)?;
        let ended = self.running.end().await?;
        ensure!(
            ended.code() == Some(0),
            "{}: {}",
            ended.status,
            ended.everything()
        );
        Ok(ended)
    }
}

/// Waits until the database has no open transaction.
pub(crate) async fn no_transaction(database: &CaseDatabase) -> anyhow::Result<()> {
    eventually("no transaction is open", async || {
        let open = database.database()?.idle_in_transaction().await?;
        ensure!(open == 0, "{open} are open");
        Ok(())
    })
    .await
}

pub(crate) async fn rows(database: &CaseDatabase, key: i32) -> anyhow::Result<i64> {
    let sql = format!("SELECT count(*) FROM entry WHERE id = {key}");
    database.answer::<Postgres>(&sql).await
}
