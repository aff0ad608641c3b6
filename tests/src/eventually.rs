//! Waits for a state instead of sleeping.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// The time limit for a state. Only a failing test takes it in full. It is long because a machine
/// under load can delay a process for seconds.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Short compared to the server's actions, long compared to the cost of one query.
const INTERVAL: Duration = Duration::from_millis(20);

/// Calls `probe` until it returns `Ok`.
///
/// # Errors
/// After [`LIMIT`], with `what` and the last error of the probe.
///
/// # Cancellation
/// Nothing is left running when the future is dropped.
pub async fn eventually<T>(
    what: &str,
    mut probe: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        match probe().await {
            Ok(value) => return Ok(value),
            Err(still) if start.elapsed() > LIMIT => {
                return Err(still.context(format!(
                    "waited {LIMIT:?} for this and it did not come: {what}"
                )));
            }
            Err(_) => sleep(INTERVAL).await,
        }
    }
}
