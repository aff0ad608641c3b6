//! A limit for a wait of a caller that may be outside a runtime.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;

/// Runs a future for at most this time; `None` when it takes longer. Outside a runtime there is no timer, and no limit.
pub(crate) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    if Handle::try_current().is_ok() {
        timeout(limit, future).await.ok()
    } else {
        Some(future.await)
    }
}
