//! The parameter through which a body hears that it is to end.

use std::future::Future;

use tokio_util::sync::CancellationToken;

/// Tells the body that the program is to end: SIGINT or SIGTERM came.
///
/// A body that takes it has `shutdown_timeout` (default 30 s) to return after the signal, and decides the exit code. A
/// body that does not is dropped at the signal. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    pub(super) fn new() -> Self {
        Self(CancellationToken::new())
    }

    pub(super) fn begin(&self) {
        self.0.cancel();
    }

    /// Waits for the signal. The future owns what it needs, so that it can be given away:
    /// `axum::serve(listener, app).with_graceful_shutdown(shutdown.wait())`.
    ///
    /// # Cancellation
    ///
    /// The future may be dropped at any time.
    pub fn wait(&self) -> impl Future<Output = ()> + Send + 'static {
        self.0.clone().cancelled_owned()
    }

    /// Whether the signal has come.
    pub fn is_set(&self) -> bool {
        self.0.is_cancelled()
    }

    /// The token itself, for tokio-util's own tools. Cancelling it asks the body to end, without a signal.
    pub fn token(&self) -> CancellationToken {
        self.0.clone()
    }
}
