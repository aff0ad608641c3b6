//! Requests to end sessions, and the limit of a driver's future.

use std::future::Future;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::hosts::SessionId;

use crate::lock::lock;

/// Sessions that wait to be ended. One task at a time ends all of them over one connection, so that a pool never has more
/// than one session besides its slots.
#[derive(Default)]
pub(super) struct Terminations {
    requested: Mutex<Vec<Termination>>,
    pub(super) turn: tokio::sync::Mutex<()>,
}

pub(super) struct Termination {
    pub(super) session: SessionId,
    /// Why it could not be ended, as text: the same reason for all.
    pub(super) outcome: oneshot::Sender<Result<(), String>>,
}

impl Terminations {
    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Termination>> {
        lock(&self.requested)
    }
}

/// Runs a driver's future within a limit, which it names in its error.
pub(super) async fn within<T>(
    limit: Duration,
    name: &str,
    work: impl Future<Output = sqlx::Result<T>>,
) -> sqlx::Result<T> {
    timeout(limit, work).await.unwrap_or_else(|_| {
        Err(sqlx::Error::Io(io::Error::new(
            io::ErrorKind::TimedOut,
            format!(
                "no answer within {} ({name})",
                humantime::format_duration(limit)
            ),
        )))
    })
}
