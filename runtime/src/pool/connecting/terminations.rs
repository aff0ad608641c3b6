//! Requests to terminate sessions.

use std::sync::Mutex;

use tokio::sync::oneshot;

use super::hosts::SessionId;

use crate::lock::lock;

/// Sessions that are to be terminated. One task at a time terminates all of them over one connection, so that a pool never
/// has more than one session besides its slots.
#[derive(Default)]
pub(super) struct Terminations {
    requested: Mutex<Vec<Termination>>,
    /// The right to terminate, with the sessions that were terminated last. A recovery and a close may request the same one,
    /// and a second `KILL` of a session that is ending takes MariaDB some seconds.
    pub(super) turn: tokio::sync::Mutex<Vec<SessionId>>,
}

pub(super) struct Termination {
    pub(super) sessions: Vec<SessionId>,
    /// Takes the result. The error is text, because all requests of a batch get the same one.
    pub(super) outcome: oneshot::Sender<Result<(), String>>,
}

impl Terminations {
    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Termination>> {
        lock(&self.requested)
    }
}
