//! A minimal pool: a queue of connections that hands each returned one to the first waiter. It shows what any pool over the same
//! driver could reach.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Idle connections and waiters.
pub(crate) struct BareQueue<C>(Arc<Mutex<State<C>>>);

struct State<C> {
    idle: Vec<C>,
    waiters: VecDeque<oneshot::Sender<C>>,
}

impl<C> BareQueue<C> {
    pub(crate) fn new(connections: Vec<C>) -> Self {
        Self(Arc::new(Mutex::new(State {
            idle: connections,
            waiters: VecDeque::new(),
        })))
    }

    pub(crate) async fn take(&self) -> anyhow::Result<C> {
        let waiting = {
            let mut state = self.lock();
            if let Some(connection) = state.idle.pop() {
                return Ok(connection);
            }
            let (waiter, waiting) = oneshot::channel();
            state.waiters.push_back(waiter);
            waiting
        };
        Ok(waiting.await?)
    }

    pub(crate) fn give_back(&self, connection: C) {
        let waiter = {
            let mut state = self.lock();
            let Some(waiter) = state.waiters.pop_front() else {
                return state.idle.push(connection);
            };
            waiter
        };
        // No waiter is cancelled in this benchmark.
        let _ = waiter.send(connection);
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> Clone for BareQueue<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
