//! Secrets, which must not be printed.

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;

use super::{bounded, case_database};
use crate::{Heard, Options, Subject};

/// 49: the URL has an unknown parameter. Neither its value nor the password is in a log, in `Debug` or in an error.
pub async fn in_the_url<S: Subject>() -> anyhow::Result<()> {
    let case_database = case_database!(S, "secrets");
    let password = case_database.database()?.password();
    let heard = Heard::here();
    let url = format!("{}?api_key=s3cret", case_database.url());
    let pool = S::start(Options {
        max_size: 2,
        ..Options::new(&url)
    })
    .await?;
    pool.execute("SELECT 1").await?;
    let checkouts = try_join_all((0..2).map(|_| pool.acquire())).await?;
    let of_pool = format!("{pool:?} {checkouts:?}");
    drop(checkouts);
    bounded("the close", pool.close()).await?;
    let closed = pool.execute("SELECT 1").await;
    let closed = closed.err().context("it can still be used")?;
    let of_closed = format!("{closed} {closed:?}");
    let missing = Options::new(url.replace('?', "_missing?"));
    let missing = S::start(missing).await.err();
    let missing = missing.context("it has started")?;
    let of_missing = format!("{missing:#} {missing:?}");
    let shown = [of_pool, of_closed, of_missing, heard.everything()].join("\n");
    for secret in ["s3cret", password] {
        let line = shown.lines().find(|line| line.contains(secret));
        ensure!(line.is_none(), "{line:?}");
    }
    Ok(())
}
