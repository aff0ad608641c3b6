//! A stand-in for a cluster, or for a proxy, that ends transactions behind the client's back.
//!
//! It stands between a client and a server and speaks as much of their protocol as it takes to know where one command ends and
//! the next begins. There, on demand, it sends a statement of its own to the server and swallows the answer. The client learns
//! nothing of it but what the server answers to its later commands: so a node that aborts a transaction for another node's, or
//! a pooler that changes the session, would look if it told nobody. It counts the commands too, which are round trips.

mod mysql;
mod postgres;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Context;
use tokio::{net::TcpListener, task::AbortHandle};

use crate::{Kind, TestDatabase};

/// The stand-in. It ends, with every connection, when it is dropped.
#[derive(Debug)]
pub struct TransactionEnder {
    address: SocketAddr,
    plan: Arc<Plan>,
    listening: AbortHandle,
}

impl TransactionEnder {
    /// Starts it before the server of a database. It runs on the runtime of the caller.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn before(database: &TestDatabase) -> anyhow::Result<Self> {
        let kind = database.kind();
        Self::before_address(kind, database.address()?).await
    }

    /// Starts it before an address that speaks as this kind of server does.
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
                    // Whichever side ends first ends the other.
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

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Counts commands anew, and sends these statements before the command with this number, which begins at 0. A command that
    /// follows none of the client's for some time counts all the same: the statements go ahead of it, not after the last one.
    pub fn send_before(&self, command: usize, statements: &'static [&'static str]) {
        *self.plan.lock() = State {
            commands: 0,
            due: Some((command, statements)),
        };
    }

    /// How many commands came since [`send_before`](Self::send_before), or at all.
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

/// What all connections have in common.
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

    /// Counts a command; what is to be sent before it.
    fn command(&self) -> Option<&'static [&'static str]> {
        let mut state = self.lock();
        let now = state.commands;
        state.commands += 1;
        let (_, statements) = state.due.take_if(|(command, _)| *command == now)?;
        Some(statements)
    }
}
