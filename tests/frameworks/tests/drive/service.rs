//! A service as a program.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use poolhouse_tests::Program;
use poolhouse_tests::program::{Running, Signal};
use tokio::time::timeout;

use super::client::{Answer, Client, Sent};

/// The time limit of a program's end: more than the 30 s of actix-web, the longest limit of any framework.
const ENDS_WITHIN: Duration = Duration::from_secs(40);

/// The limits of a service's pool; `None` is the default.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) connections: Option<u32>,
    pub(crate) acquire_timeout: Option<Duration>,
}

impl Limits {
    /// The variables for both kinds of service.
    fn variables(self) -> Vec<(&'static str, String)> {
        let mut variables = Vec::new();
        if let Some(connections) = self.connections {
            variables.push(("POOLHOUSE_MAX_SIZE", connections.to_string()));
            variables.push(("MAX_CONNECTIONS", connections.to_string()));
        }
        if let Some(timeout) = self.acquire_timeout {
            let timeout = timeout.as_millis();
            variables.push(("POOLHOUSE_ACQUIRE_TIMEOUT", format!("{timeout}ms")));
            variables.push(("ACQUIRE_TIMEOUT_MS", timeout.to_string()));
        }
        variables
    }
}

/// The end of a program.
#[derive(Debug)]
pub(crate) struct Exit {
    /// The exit code; `None` if the program had to be killed.
    pub(crate) code: Option<i32>,
    /// The program's output until then.
    pub(crate) said: String,
}

pub(crate) struct Service {
    pub(crate) client: Client,
    pub(crate) running: Running,
    pub(crate) address: SocketAddr,
}

impl Service {
    /// Starts the program of this name, and waits until it listens.
    pub(crate) async fn start(
        (name, client): (&str, Client),
        url: &str,
        limits: Limits,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let mut program = Program::new(env!("CARGO_BIN_EXE_service"))?
            .argument(name)
            .variable("DATABASE_URL", url);
        for (name, value) in limits.variables() {
            program = program.variable(name, value);
        }
        for (name, value) in variables {
            program = program.variable(name, *value);
        }
        let mut running = program.start()?;
        let line = running.line("listening on http://").await?;
        let address = line.rsplit('/').next().context("an address")?.parse()?;
        Ok(Self {
            client,
            running,
            address,
        })
    }

    /// Sends a request.
    pub(crate) async fn send(&self, what: &str, key: i32) -> anyhow::Result<Sent> {
        self.client.send(self.address, what, key).await
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn ask(&self, what: &str, key: i32) -> anyhow::Result<Answer> {
        self.send(what, key).await?.answer().await
    }

    /// Sends a request and waits until its handler waits in its transaction.
    pub(crate) async fn begin_to_wait(&mut self, key: i32) -> anyhow::Result<Sent> {
        let sent = self.send("wait", key).await?;
        self.running.line(&format!("waits {key}.")).await?;
        Ok(sent)
    }

    /// Sends SIGTERM and waits for the program's end. The program is killed after [`ENDS_WITHIN`].
    pub(crate) async fn end(self) -> anyhow::Result<Exit> {
        self.running.signal(Signal::SIGTERM)?;
        let said = self.running.said();
        // Dropping the future kills the program.
        let Ok(ended) = timeout(ENDS_WITHIN, self.running.end()).await else {
            return Ok(Exit { code: None, said });
        };
        let ended = ended?;
        Ok(Exit {
            code: ended.code(),
            said: ended.everything(),
        })
    }
}
