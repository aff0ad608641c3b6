//! The runtime that outlives every test.
//!
//! Each test has its own runtime, which ends with everything that was opened on it. Connections that hold locks on the
//! server, and work without a waiting caller, run on this one instead: on one thread, from the first test of the process to
//! its end.

use std::future::Future;
use std::panic::resume_unwind;
use std::thread;

use once_cell::sync::OnceCell;
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;

use crate::error::{Error, UsageError};

static RUNTIME: OnceCell<Handle> = OnceCell::new();

/// Starts work in the background.
pub(super) fn spawn<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<JoinHandle<T>, Error> {
    let runtime = RUNTIME.get_or_try_init(|| {
        let refused = |error: std::io::Error| UsageError::Runtime {
            reason: error.to_string(),
        };
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(refused)?;
        let handle = runtime.handle().clone();
        thread::Builder::new()
            .name("poolhouse-tests".to_owned())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))
            .map_err(refused)?;
        Ok::<_, UsageError>(handle)
    })?;
    Ok(runtime.spawn(work))
}

/// Runs work in the background and waits for it. The work continues to its end even if the caller stops waiting.
pub(super) async fn run<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    match spawn(work)?.await {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(payload) => resume_unwind(payload),
            Err(_) => unreachable!("nobody ends the background runtime"),
        },
    }
}
