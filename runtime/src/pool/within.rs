//! A time limit for a driver's future.

use std::io;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;

/// Runs a driver's future within a limit, and names the limit in its error. Outside a runtime there is no timer, and no limit.
pub(crate) async fn within<T>(
    limit: Duration,
    name: &str,
    work: impl Future<Output = sqlx::Result<T>>,
) -> sqlx::Result<T> {
    if Handle::try_current().is_err() {
        return work.await;
    }
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
