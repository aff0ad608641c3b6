//! Waiting for a state instead of sleeping and hoping.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long a state may take to come about. It only ever passes in full when a test fails; it is
/// long because a machine under load can hold a process up for seconds.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Short beside anything a server does, long beside the cost of one question.
const INTERVAL: Duration = Duration::from_millis(20);

/// Asks `probe` until it answers `Ok`.
///
/// # Errors
/// After [`LIMIT`], with `what` was waited for and the last answer of the probe.
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
