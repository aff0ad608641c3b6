//! Whether a program should get requests, from the pool's state and without a question to the server.

use std::fmt;
use std::sync::Arc;

use super::handle::Engine;
use super::phase::{Draining, EnginePhase, StartedPool};
use crate::backend::Backend;
use crate::lock::lock;

/// Whether a program should get requests, as far as its database is concerned. For readiness probes of load balancers and
/// orchestrators.
///
/// Its text is one word in lower case: `ready`, `draining`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Readiness {
    /// The pool is not started yet.
    Starting,
    /// A request finds a connection, or a slot to open one, as far as is known.
    Ready,
    /// Every connection is in use, and tasks wait for one, or the server had no room for another one. Requests are served with
    /// a delay. On a `sqlx::Pool`, which does not report waiters: every connection is in use.
    Saturated,
    /// The last attempt to reach the server failed. The pool tries again about twice a second, and is ready when the server
    /// answers. A server without room for another connection counts only while the pool has none. Never on a `sqlx::Pool`,
    /// where it is unknown.
    Unreachable,
    /// The program is asked to end. It serves requests until `drain_delay` is over and the open ones are answered.
    Draining,
    /// The pool is closed, or being closed.
    Closed,
}

impl Readiness {
    /// Whether new requests should be sent: [`Ready`](Self::Ready) and [`Saturated`](Self::Saturated).
    ///
    /// `Saturated` counts, because the program still answers. Load is mostly the same on all instances: an instance that leaves
    /// passes its load to the others, which then leave too.
    pub fn is_ready(self) -> bool {
        matches!(self, Self::Ready | Self::Saturated)
    }

    /// The HTTP status of a readiness probe: 200 when it [is ready](Self::is_ready), otherwise 503.
    pub fn status(self) -> u16 {
        if self.is_ready() { 200 } else { 503 }
    }

    /// The worse one of two, for a program with several engines. The order is ready, saturated, unreachable, starting,
    /// draining, closed.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if other.badness() > self.badness() {
            other
        } else {
            self
        }
    }

    fn badness(self) -> u8 {
        match self {
            Self::Ready => 0,
            Self::Saturated => 1,
            Self::Unreachable => 2,
            Self::Starting => 3,
            Self::Draining => 4,
            Self::Closed => 5,
        }
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Saturated => "saturated",
            Self::Unreachable => "unreachable",
            Self::Draining => "draining",
            Self::Closed => "closed",
        })
    }
}

impl<DB: Backend> Engine<DB> {
    /// Whether the program should get requests, from the pool's state. It sends nothing, takes no connection, allocates nothing
    /// and takes far less than a microsecond, so that a probe gets its answer however busy the pool is.
    ///
    /// [`health`](Engine::health) asks the server. Nodes do not count, because reads fall back to the engine itself.
    pub fn readiness(&self) -> Readiness {
        match &*self.phase() {
            EnginePhase::Configured(_) | EnginePhase::Starting { .. } => Readiness::Starting,
            EnginePhase::Closing { .. } | EnginePhase::Closed(_) => Readiness::Closed,
            EnginePhase::Started(StartedPool { pool, .. }) => {
                if self.is_draining() {
                    Readiness::Draining
                } else if !pool.is_reachable() {
                    Readiness::Unreachable
                } else if pool.is_saturated() {
                    Readiness::Saturated
                } else {
                    Readiness::Ready
                }
            }
        }
    }

    /// Whether a run that has started the engine is asked to end.
    fn is_draining(&self) -> bool {
        let draining = lock(&self.0.draining);
        draining.iter().any(|draining| draining.is_cancelled())
    }

    /// Adds the draining token of a run that has started the engine.
    pub(crate) fn drains_with(&self, draining: &Draining) {
        lock(&self.0.draining).push(Arc::clone(draining));
    }

    /// Removes that token at the end of its run.
    pub(crate) fn drains_no_more_with(&self, draining: &Draining) {
        lock(&self.0.draining).retain(|known| !Arc::ptr_eq(known, draining));
    }
}

#[cfg(test)]
mod tests {
    use super::Readiness::{Closed, Draining, Ready, Saturated, Starting, Unreachable};

    #[test]
    fn what_is_ready_is_200_and_all_else_503() {
        for readiness in [Ready, Saturated] {
            assert_eq!((readiness.is_ready(), readiness.status()), (true, 200));
        }
        for readiness in [Starting, Unreachable, Draining, Closed] {
            assert_eq!((readiness.is_ready(), readiness.status()), (false, 503));
        }
    }

    #[test]
    fn of_several_the_worst_counts() {
        let worse = [Ready, Saturated, Unreachable, Starting, Draining, Closed];
        for (index, one) in worse.into_iter().enumerate() {
            for other in &worse[index..] {
                assert_eq!(one.and(*other), *other);
                assert_eq!(other.and(one), *other);
            }
        }
        assert_eq!(Draining.to_string(), "draining");
    }

    #[cfg(feature = "sqlite")]
    #[tokio::test]
    async fn an_engine_that_its_body_starts_again_drains_with_the_run() {
        use crate::settings::{EngineSettings, Layers, Settings, Sources};

        let settings = Settings::new().engine("again").url("sqlite::memory:");
        let layers = Layers::collect(&settings, &Sources::of_process().unwrap(), None).unwrap();
        let settings = EngineSettings::read(&layers, None).unwrap();
        let engine = crate::SqliteEngine::new(settings).unwrap();
        engine.start_connection_pool().await.unwrap();
        let draining = super::Draining::default();
        engine.drains_with(&draining);
        engine.close_connection_pool().await;
        engine.start_connection_pool().await.unwrap();
        assert_eq!(engine.readiness(), Ready);
        draining.cancel();
        assert_eq!(engine.readiness(), Draining);
        engine.drains_no_more_with(&draining);
        assert_eq!(engine.readiness(), Ready);
        engine.close_connection_pool().await;
    }
}
