//! The server's connections, shared out among all processes that test on it.
//!
//! A test asks for as many places as it may open connections (`max_size`) and gets them all at once, so that no test
//! holds some and waits for more. Half of the server's connections are places; the other half is for the connection that
//! each process keeps, for clones and returns in the background, and for whatever else uses the server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Kind, PREFIX, Server};
use crate::error::Error;
use crate::testing::test_server::Room;

/// A process that waits asks this often at least; a test of its own that ends wakes it earlier.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Places of one test, given back when dropped.
struct Places<K: Kind> {
    server: Arc<Server<K>>,
    keys: Vec<String>,
    since: Instant,
}

impl<K: Kind> Server<K> {
    fn given(self: &Arc<Self>, keys: Vec<String>, since: Instant) -> Room {
        self.kept.use_places();
        Box::new(Places {
            server: Arc::clone(self),
            keys,
            since,
        })
    }

    /// Waits for places.
    pub(super) async fn places(self: Arc<Self>, wanted: u32) -> Result<Room, Error> {
        // First come, first served; else a test that wants many would wait until all others are done.
        let _turn = self.budget_turn.lock().await;
        loop {
            let freed = self.freed.notified();
            let all = (self.identity().await?.max_connections / 2).max(1);
            let wanted = wanted.min(all) as usize;
            if let Some((keys, since)) = self.kept.take_places(wanted) {
                return Ok(self.given(keys, since));
            }
            let places: Vec<String> = (0..all)
                .map(|number| format!("{PREFIX}place_{number}"))
                .collect();
            let mut session = self.session().await?;
            let keys = session.lock_some(&places, wanted).await?;
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

impl<K: Kind> Drop for Places<K> {
    fn drop(&mut self) {
        self.server
            .keep_places(std::mem::take(&mut self.keys), self.since);
    }
}
