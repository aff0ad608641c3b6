//! Connections that a test's engine borrows: they live on a runtime that outlives the test, and so may outlive it too.

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

/// What an engine has asked a connection's server, so that the next one that borrows the connection need not.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerFacts {
    session: Option<SessionId>,
    version: Option<String>,
}

/// The connections of one engine whose owner wants them back.
pub(crate) struct Borrowed<DB: Backend> {
    /// Those that the engine takes before it opens any.
    idle: Mutex<Vec<DB::Connection>>,
    /// Of the connection that was there at first.
    asked: Mutex<ServerFacts>,
    /// Those that it has finished with.
    returned: Mutex<Vec<DB::Connection>>,
    /// Where further connections are opened.
    runtime: Handle,
    opened: AtomicI64,
}

#[cfg_attr(
    not(all(feature = "testing", any(feature = "postgres", feature = "mysql"))),
    allow(dead_code, reason = "only tests borrow connections")
)]
impl<DB: Backend> Borrowed<DB> {
    /// Lends a connection that was opened on the runtime that this runs on.
    pub(crate) fn new(connection: DB::Connection, asked: ServerFacts) -> Arc<Self> {
        Arc::new(Self {
            idle: Mutex::new(vec![connection]),
            asked: Mutex::new(asked),
            returned: Mutex::default(),
            runtime: Handle::current(),
            opened: AtomicI64::new(0),
        })
    }

    /// What an engine of this kind borrows.
    pub(super) fn of(borrowed: Option<&BorrowedByAny>) -> Option<Arc<Self>> {
        Arc::clone(borrowed?).downcast().ok()
    }

    pub(super) fn take(&self) -> Option<DB::Connection> {
        lock(&self.idle).pop()
    }

    /// What is known of the connection that was borrowed; nothing once there were others, for which it might be taken.
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

    /// Opens one more.
    pub(super) async fn open(&self, options: &OptionsOf<DB>) -> sqlx::Result<DB::Connection> {
        let options = options.clone();
        let opening = self.runtime.spawn(async move { options.connect().await });
        let gone = |error| sqlx::Error::Io(io::Error::other(error));
        let connection = opening.await.map_err(gone)??;
        self.opened.fetch_add(1, Relaxed);
        Ok(connection)
    }

    pub(super) fn give_back(&self, connection: DB::Connection) {
        lock(&self.returned).push(connection);
    }

    /// What has come back, or was never taken.
    pub(crate) fn take_all(&self) -> Vec<DB::Connection> {
        let mut all = mem::take(&mut *lock(&self.idle));
        all.append(&mut lock(&self.returned));
        all
    }

    /// How many connections the engine has opened besides those that were there.
    pub(crate) fn opened(&self) -> i64 {
        self.opened.load(Relaxed)
    }
}
