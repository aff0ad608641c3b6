//! Requests to terminate sessions, and a time limit for a driver's future.

use std::future::Future;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::hosts::SessionId;

use crate::lock::lock;

/// Sessions that are to be terminated. One task at a time terminates all of them over one connection, so that a pool never
/// has more than one session besides its slots.
#[derive(Default)]
pub(super) struct Terminations {
    requested: Mutex<Vec<Termination>>,
    pub(super) turn: tokio::sync::Mutex<()>,
}

pub(super) struct Termination {
    pub(super) session: SessionId,
    /// Takes the result. The error is text, because all requests of a batch get the same one.
    pub(super) outcome: oneshot::Sender<Result<(), String>>,
}

impl Terminations {
    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Termination>> {
        lock(&self.requested)
    }
}

/// Runs a driver's future within a limit, and names the limit in its error.
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
