//! The server's connections, shared out among all processes that test on it.
//!
//! A test asks for as many places as it may open connections (`max_size`) and gets them all at once, so that no test
//! holds some and waits for more. Half of the server's connections are places; the other half is for the connection that
//! each process keeps, for copies and returns in the background, and for whatever else uses the server.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use super::{Site, locks};
use crate::error::Error;
use crate::testing::background;

/// A process that waits asks this often at least; a test of its own that ends wakes it earlier.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Places of one test, given back when dropped.
struct Places {
    site: Arc<Site>,
    keys: Vec<i64>,
}

impl Site {
    /// Waits for places.
    pub(super) async fn places(
        self: Arc<Self>,
        wanted: u32,
    ) -> Result<Box<dyn Any + Send + Sync>, Error> {
        // First come, first served; else a test that wants many would wait until all others are done.
        let _turn = self.budget_turn.lock().await;
        loop {
            let freed = self.freed.notified();
            let mut session = self.session.take().await?;
            let all = if let Some(all) = self.all_places.get() {
                *all
            } else {
                let usable: i32 = sqlx::query_scalar(
                        "SELECT current_setting('max_connections')::int4 - current_setting('superuser_reserved_connections')::int4 \
                         - coalesce(current_setting('reserved_connections', true)::int4, 0)",
                    )
                    .fetch_one(session.connection())
                    .await?;
                let all = u32::try_from(usable / 2).unwrap_or_default().max(1);
                *self.all_places.get_or_init(|| all)
            };
            let numbers: Vec<i64> = (0..all).map(locks::place).collect();
            let wanted = wanted.min(all) as usize;
            let keys = session.lock_some(&numbers, wanted).await?;
            if keys.len() == wanted {
                drop(session);
                return Ok(Box::new(Places {
                    site: Arc::clone(&self),
                    keys,
                }));
            }
            session.unlock(&keys).await?;
            drop(session);
            // With jitter, so that processes do not take turns at being too late.
            let pause = ASK_AGAIN.mul_f64(0.5 + fastrand::f64());
            let _ = tokio::time::timeout(pause, freed).await;
        }
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        let (site, keys) = (Arc::clone(&self.site), std::mem::take(&mut self.keys));
        // The runtime is there: it has taken the places.
        let _ = background::spawn(async move {
            let unlocked =
                async { Ok::<_, Error>(site.session.take().await?.unlock(&keys).await?) };
            if let Err(error) = unlocked.await {
                tracing::warn!(%error, "places for connections could not be given back");
            }
            site.freed.notify_waiters();
        });
    }
}
