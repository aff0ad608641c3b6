//! Connections that a test's engine borrows. Their runtime outlives the test, so they may outlive it too.

use std::io;
use std::mem;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use sqlx::ConnectOptions;
use tokio::runtime::Handle;

use super::hosts::SessionId;
use crate::backend::{Backend, OptionsOf};
use crate::lock::lock;
use crate::settings::BorrowedByAny;

/// Session id and server version of a connection, so that the next engine that borrows it need not ask.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerFacts {
    session: Option<SessionId>,
    version: Option<String>,
}

/// The borrowed connections of one engine, which returns them to their owner.
pub(crate) struct Borrowed<DB: Backend> {
    /// Connections that the engine takes before it opens any.
    idle: Mutex<Vec<DB::Connection>>,
    /// Facts of the first connection.
    asked: Mutex<ServerFacts>,
    /// Connections that the engine has returned.
    returned: Mutex<Vec<DB::Connection>>,
    /// The runtime on which further connections are opened.
    runtime: Handle,
    opened: AtomicI64,
}

#[cfg_attr(
    not(all(feature = "testing", any(feature = "postgres", feature = "mysql"))),
    allow(dead_code, reason = "only tests borrow connections")
)]
impl<DB: Backend> Borrowed<DB> {
    /// Lends a connection that was opened on the current runtime.
    pub(crate) fn new(connection: DB::Connection, asked: ServerFacts) -> Arc<Self> {
        Arc::new(Self {
            idle: Mutex::new(vec![connection]),
            asked: Mutex::new(asked),
            returned: Mutex::default(),
            runtime: Handle::current(),
            opened: AtomicI64::new(0),
        })
    }

    /// The borrowed connections, if they are of this database.
    pub(super) fn of(borrowed: Option<&BorrowedByAny>) -> Option<Arc<Self>> {
        Arc::clone(borrowed?).downcast().ok()
    }

    pub(super) fn take(&self) -> Option<DB::Connection> {
        lock(&self.idle).pop()
    }

    /// Facts of the first connection; empty once others were opened, which could be mistaken for it.
    pub(crate) fn asked(&self) -> ServerFacts {
        if self.opened() > 0 {
            return ServerFacts::default();
        }
        lock(&self.asked).clone()
    }

    pub(super) fn session(&self) -> Option<SessionId> {
        self.asked().session
    }

    pub(super) fn version(&self) -> Option<String> {
        self.asked().version
    }

    pub(super) fn note_session(&self, session: Option<SessionId>) {
        lock(&self.asked).session = session;
    }

    pub(super) fn note_version(&self, version: &str) {
        lock(&self.asked).version = Some(version.to_owned());
    }

    /// Opens one more connection.
    pub(super) async fn open(&self, options: &OptionsOf<DB>) -> sqlx::Result<DB::Connection> {
        let options = options.clone();
        let opening = self.runtime.spawn(async move { options.connect().await });
        let gone = |error| sqlx::Error::Io(io::Error::other(error));
        let connection = opening.await.map_err(gone)??;
        self.opened.fetch_add(1, Relaxed);
        Ok(connection)
    }

    /// Returns a connection at the end of the engine. During the test, connections are closed: the session of one that lay here
    /// would go on, with its locks.
    pub(super) fn give_back(&self, connection: DB::Connection) {
        lock(&self.returned).push(connection);
    }

    /// Takes the connections that were returned or never taken.
    pub(crate) fn take_all(&self) -> Vec<DB::Connection> {
        let mut all = mem::take(&mut *lock(&self.idle));
        all.append(&mut lock(&self.returned));
        all
    }

    /// The number of connections opened in addition to the first one.
    pub(crate) fn opened(&self) -> i64 {
        self.opened.load(Relaxed)
    }
}
