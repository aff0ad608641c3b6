//! The faults: what goes wrong around a pool, and what must hold then, written once for every database and every pool.
//!
//! Each case makes a database of its own, plays one fault on a pool, and returns an error when a promise does not hold.
//! `tests/tests/faults.rs` is the table of them, and asserts. Those that end a whole process are programs, in
//! `tests/tests/faults/ends.rs`.
//!
//! Outside `tests/run` a case that needs a server is left out.

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

/// How long a step may take that must not hang. It passes in full only when it does hang.
const LIMIT: Duration = Duration::from_secs(20);

/// A `close_timeout` that a case waits for to its end.
const SHORT: Duration = Duration::from_millis(300);

/// Awaits what must not hang.
///
/// # Errors
/// When it does.
async fn bounded<T>(what: &str, future: impl Future<Output = T>) -> anyhow::Result<T> {
    tokio::time::timeout(LIMIT, future)
        .await
        .with_context(|| format!("not over after {LIMIT:?}: {what}"))
}

/// The database of a case, or its end where there is none.
macro_rules! case_database {
    ($subject:ty, $hint:literal) => {
        match $crate::CaseDatabase::of::<<$subject as $crate::Subject>::Db>($hint).await? {
            Some(case_database) => case_database,
            None => return Ok(()),
        }
    };
}
use case_database;
