//! Settings at the ends of their ranges.

use std::time::Duration;

use anyhow::ensure;

use super::{bounded, case_database};
use crate::{Options, Subject};

/// 48: every time is the longest possible one. The pool works, or the start fails; nothing panics.
pub async fn the_longest_times<S: Subject>() -> anyhow::Result<()> {
    let case_database = case_database!(S, "longest");
    let time = Duration::MAX;
    let started = S::start(Options {
        acquire_timeout: time,
        connect_timeout: time,
        start_timeout: time,
        close_timeout: time,
        validate_after: time,
        ..Options::new(case_database.url())
    });
    let pool = match bounded("the start", started).await? {
        Ok(pool) => pool,
        // poolhouse accepts every time.
        Err(error) if S::OURS => return Err(error),
        Err(_) => return case_database.closed_in_good_order().await,
    };
    bounded("a query", pool.execute("SELECT 1")).await??;
    drop(bounded("a checkout", pool.acquire()).await??);
    let ended = bounded("the close", pool.close()).await?;
    ensure!(ended.is_empty(), "{ended:?}");
    case_database.closed_in_good_order().await
}
