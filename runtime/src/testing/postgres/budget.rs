//! The server's connections, shared out among all processes that test on it.
//!
//! A test asks for as many places as it may open connections (`max_size`) and gets them all at once, so that no test
//! holds some and waits for more. Half of the server's connections are places; the other half is for the connection that
//! each process keeps, for copies and returns in the background, and for whatever else uses the server.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Site, locks};
use crate::error::Error;

/// A process that waits asks this often at least; a test of its own that ends wakes it earlier.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Places of one test, given back when dropped.
struct Places {
    site: Arc<Site>,
    keys: Vec<i64>,
    since: Instant,
}

impl Site {
    fn given(self: &Arc<Self>, keys: Vec<i64>, since: Instant) -> Box<dyn Any + Send + Sync> {
        self.kept.use_places();
        Box::new(Places {
            site: Arc::clone(self),
            keys,
            since,
        })
    }

    /// How many places there are on the server.
    async fn all_places(&self) -> Result<u32, Error> {
        if let Some(all) = self.all_places.get() {
            return Ok(*all);
        }
        let usable = sqlx::query_scalar(
            "SELECT current_setting('max_connections')::int4 - current_setting('superuser_reserved_connections')::int4 \
             - coalesce(current_setting('reserved_connections', true)::int4, 0)",
        );
        let mut session = self.session.take().await?;
        let usable = usable.fetch_one(session.connection()).await;
        let usable: i32 = session.seen(usable)?;
        let all = u32::try_from(usable / 2).unwrap_or_default().max(1);
        Ok(*self.all_places.get_or_init(|| all))
    }

    /// Waits for places.
    pub(super) async fn places(
        self: Arc<Self>,
        wanted: u32,
    ) -> Result<Box<dyn Any + Send + Sync>, Error> {
        // First come, first served; else a test that wants many would wait until all others are done.
        let _turn = self.budget_turn.lock().await;
        loop {
            let freed = self.freed.notified();
            let all = self.all_places().await?;
            let wanted = wanted.min(all) as usize;
            if let Some((keys, since)) = self.kept.take_places(wanted) {
                return Ok(self.given(keys, since));
            }
            let numbers: Vec<i64> = (0..all).map(locks::place).collect();
            let mut session = self.session.take().await?;
            let keys = session.lock_some(&numbers, wanted).await?;
            if keys.len() == wanted {
                self.kept.add_places(wanted);
                return Ok(self.given(keys, Instant::now()));
            }
            session.unlock(&keys).await?;
            drop(session);
            if self.give_up_kept().await {
                continue;
            }
            // With jitter, so that processes do not take turns at being too late.
            let pause = ASK_AGAIN.mul_f64(0.5 + fastrand::f64());
            let _ = tokio::time::timeout(pause, freed).await;
        }
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        self.site
            .keep_places(std::mem::take(&mut self.keys), self.since);
    }
}
