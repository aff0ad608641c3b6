//! The faults and the promises that must hold under them, written once for every database and every pool.
//!
//! Each case creates its own database, plays one fault on a pool, and returns an error when a promise does not hold.
//! `tests/tests/faults.rs` lists and asserts them. The faults that end a whole process are programs, in
//! `tests/tests/faults/ends.rs`.
//!
//! Outside `tests/run` the cases that need a server are skipped.

pub mod cancel;
pub mod close;
pub mod errors;
pub mod limits;
pub mod network;
pub mod pooler;
pub mod restart;
pub mod runtimes;
pub mod secrets;
pub mod size;
pub mod start;
pub mod strangers;

use std::{future::Future, time::Duration};

use anyhow::Context;

/// The time limit of a step. Only a step that hangs takes it in full.
const LIMIT: Duration = Duration::from_secs(20);

/// A `close_timeout` that a case waits for in full.
const SHORT: Duration = Duration::from_millis(300);

/// Awaits a future with the limit [`LIMIT`].
///
/// # Errors
/// When the future takes longer.
async fn bounded<T>(what: &str, future: impl Future<Output = T>) -> anyhow::Result<T> {
    tokio::time::timeout(LIMIT, future)
        .await
        .with_context(|| format!("not over after {LIMIT:?}: {what}"))
}

/// The database of a case; returns from the case where there is none.
macro_rules! case_database {
    ($subject:ty, $hint:literal) => {
        match $crate::CaseDatabase::of::<<$subject as $crate::Subject>::Db>($hint).await? {
            Some(case_database) => case_database,
            None => return Ok(()),
        }
    };
}
use case_database;
