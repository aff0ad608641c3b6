//! The parameter that notifies a body of the shutdown.

use std::future::Future;

use tokio_util::sync::CancellationToken;

use crate::engine::Draining;

/// Notifies the body that the program is to end: SIGINT or SIGTERM was received.
///
/// A body that takes it has `shutdown_timeout` (default 20 s) to return after the signal and `drain_delay` (default 0), and
/// decides the exit code. A body without it is dropped after `drain_delay`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown {
    ended: CancellationToken,
    /// A child of `ended`, so that the engines drain when the body is to end.
    draining: Draining,
}

impl Shutdown {
    pub(super) fn new() -> Self {
        let ended = CancellationToken::new();
        let draining = Draining::new(ended.child_token());
        Self { ended, draining }
    }

    pub(super) fn drain(&self) {
        self.draining.cancel();
    }

    pub(super) fn begin(&self) {
        self.ended.cancel();
    }

    /// The token that the run's engines read for their readiness.
    pub(super) fn of_engines(&self) -> &Draining {
        &self.draining
    }

    /// Waits until the body is to end, which is `drain_delay` after the signal. The future owns its data, so that it can be
    /// passed on: `axum::serve(listener, app).with_graceful_shutdown(shutdown.wait())`.
    ///
    /// # Cancellation
    ///
    /// The future may be dropped at any time.
    pub fn wait(&self) -> impl Future<Output = ()> + Send + 'static {
        self.ended.clone().cancelled_owned()
    }

    /// Whether [`wait`](Self::wait) is over.
    pub fn is_set(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Waits for the signal. From then on [`readiness`](crate::Engine::readiness) is [`Draining`](crate::Readiness::Draining),
    /// and the body serves requests until [`wait`](Self::wait) is over. Leave a queue or a service registry here. Without
    /// `drain_delay` both are over at the same moment.
    ///
    /// # Cancellation
    ///
    /// The future may be dropped at any time.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + 'static {
        CancellationToken::clone(&self.draining).cancelled_owned()
    }

    /// Whether [`draining`](Self::draining) is over.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// The token of [`wait`](Self::wait), for tokio-util's own tools. Cancelling it asks the body to end, without a signal.
    pub fn token(&self) -> CancellationToken {
        self.ended.clone()
    }
}
