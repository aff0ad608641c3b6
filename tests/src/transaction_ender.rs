//! A stand-in for a cluster or a proxy that ends transactions without notice to the client.
//!
//! It is a proxy that parses as much of the protocol as it needs to find the start of each command. On demand, it sends its own
//! statements to the server there and discards the answers. The client sees their effect only in the server's answers to its
//! later commands. A node that aborts a transaction in favour of another node's, or a pooler that changes the session, looks the
//! same if it sends no notice. The proxy also counts the commands, which are round trips.

mod mysql;
mod postgres;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Context;
use tokio::{net::TcpListener, task::AbortHandle};

use crate::{Kind, TestDatabase};

/// The stand-in. Dropping it ends every connection.
#[derive(Debug)]
pub struct TransactionEnder {
    address: SocketAddr,
    plan: Arc<Plan>,
    listening: AbortHandle,
}

impl TransactionEnder {
    /// Starts the proxy in front of a database's server, on the caller's runtime.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn before(database: &TestDatabase) -> anyhow::Result<Self> {
        let kind = database.kind();
        Self::before_address(kind, database.address()?).await
    }

    /// Starts the proxy in front of an address with the protocol of this kind of server.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn before_address(kind: Kind, upstream: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr().context("it listens")?;
        let plan = Arc::new(Plan::default());
        let task = tokio::spawn({
            let plan = Arc::clone(&plan);
            async move {
                let mut links = tokio::task::JoinSet::new();
                while let Ok((client, _)) = listener.accept().await {
                    let plan = Arc::clone(&plan);
                    // The end of one direction ends the other.
                    links.spawn(async move {
                        match kind {
                            Kind::Postgres => postgres::link(client, upstream, plan).await,
                            Kind::MariaDb => mysql::link(client, upstream, plan).await,
                        }
                    });
                    while links.try_join_next().is_some() {}
                }
            }
        });
        Ok(Self {
            address,
            plan,
            listening: task.abort_handle(),
        })
    }

    /// The address on which the proxy listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Restarts the count at 0, and sends these statements before the command with this number. They are sent when that command
    /// arrives, however late, and not after the previous one.
    pub fn send_before(&self, command: usize, statements: &'static [&'static str]) {
        *self.plan.lock() = State {
            commands: 0,
            due: Some((command, statements)),
        };
    }

    /// The number of commands since [`send_before`](Self::send_before), or since the start.
    pub fn commands(&self) -> usize {
        self.plan.lock().commands
    }

    /// Whether the statements have been sent.
    pub fn has_sent(&self) -> bool {
        self.plan.lock().due.is_none()
    }
}

impl Drop for TransactionEnder {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// State that all connections share.
#[derive(Debug, Default)]
struct Plan(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    commands: usize,
    due: Option<(usize, &'static [&'static str])>,
}

impl Plan {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a command, and returns the statements to send before it.
    fn command(&self) -> Option<&'static [&'static str]> {
        let mut state = self.lock();
        let now = state.commands;
        state.commands += 1;
        let (_, statements) = state.due.take_if(|(command, _)| *command == now)?;
        Some(statements)
    }
}
