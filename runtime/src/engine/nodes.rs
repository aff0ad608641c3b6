//! Nodes: further servers of the same engine, such as read replicas.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, join_all};
use tokio_util::sync::CancellationToken;

use super::close::CloseBegin;
use super::node_list::{Configured, Node, NodeServer, Nodes};
use super::phase::Closing;
use super::{Base, Engine};
use crate::backend::Backend;
use crate::error::{Error, UsageError};
use crate::pool::Connector;
use crate::settings::EngineSettings;

/// The time limit for a node's first answer, counted from when the engine itself is ready.
///
/// A server that refuses does so at once. Half a second is several round trips to any place on Earth, so only a silent server
/// exceeds it.
const FIRST_ANSWER: Duration = Duration::from_millis(500);

impl<DB: Backend> Nodes<Engine<DB>> {
    /// Replaces the nodes by those of the settings, and returns the engine's connector. A node whose name is known keeps its
    /// engine. Call it under the engine's phase lock.
    pub(super) fn set(&self, configured: Configured<DB>) -> Arc<Connector<DB>> {
        let Configured { connector, nodes } = configured;
        let known = self.list();
        let nodes = nodes.into_iter().map(|(name, node)| {
            let server = node.map(|node| {
                let settings = Arc::clone(&node.connector.settings);
                let known = known.iter().find(|known| known.name == name);
                let engine = match known.and_then(|known| known.server.clone()) {
                    Some(known) => {
                        known.engine.take_on(node);
                        known.engine
                    }
                    None => Engine::of(node),
                };
                NodeServer { engine, settings }
            });
            Node { name, server }
        });
        let nodes = nodes.collect();
        *self.list.write().unwrap_or_else(PoisonError::into_inner) = nodes;
        self.are_foreign.store(false, Relaxed);
        connector
    }

    /// Starts all nodes concurrently. A node whose first attempt to connect fails or takes too long starts without a
    /// connection, and its pool looks for the server in the background. A program that writes to the primary does not wait for
    /// a replica.
    ///
    /// `is_ready` is set when the engine itself is ready.
    ///
    /// Boxed, because the future is recursive: an engine's start contains it.
    pub(super) fn start<'a>(
        &self,
        is_ready: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), Error>> {
        let starts = self.servers().into_iter();
        let starts: Vec<_> = starts.map(|node| node.start(is_ready)).collect();
        async move { join_all(starts).await.into_iter().collect() }.boxed()
    }

    /// Begins to close started nodes, cancels starts, and returns the closes under way.
    pub(super) fn begin_close(&self) -> Vec<Arc<Closing>> {
        let begun = self
            .servers()
            .into_iter()
            .map(|node| node.engine.begin_close());
        begun
            .filter_map(|begun| match begun {
                CloseBegin::Closes(closing) => Some(closing),
                CloseBegin::Left(_) | CloseBegin::CancelsStart(_) => None,
            })
            .collect()
    }

    /// Closes all nodes that are started or being started, concurrently.
    pub(super) fn close<'a>(&self, force: &'a CancellationToken) -> BoxFuture<'a, ()> {
        let nodes = self.servers();
        async move {
            join_all(nodes.iter().map(|node| async {
                node.engine.settled().await;
                if !node.engine.is_idle() {
                    node.engine.close_forced_by(force).await;
                }
            }))
            .await;
        }
        .boxed()
    }

    /// Retires the open connections of all nodes.
    pub(super) fn evict(&self) {
        for node in self.servers() {
            node.engine.evict();
        }
    }

    /// The nodes that were reachable at the last attempt. Each call begins with the next node. A lazy node that was never asked
    /// is asked in the background.
    pub(super) fn in_turn(&self) -> impl Iterator<Item = Engine<DB>> + use<DB> {
        let mut servers = self.servers();
        if !servers.is_empty() {
            let first = self.next.fetch_add(1, Relaxed) % servers.len();
            servers.rotate_left(first);
        }
        let nodes = servers.into_iter().map(|node| node.engine);
        nodes.filter(|node| node.pool().is_some_and(|pool| pool.has_answered()))
    }

    /// The engines of the nodes that are servers of their own.
    #[cfg(feature = "testing")]
    pub(super) fn engines(&self) -> Vec<Engine<DB>> {
        self.servers().into_iter().map(|node| node.engine).collect()
    }
}

impl<DB: Backend> NodeServer<Engine<DB>> {
    async fn start(self, is_ready: &CancellationToken) -> Result<(), Error> {
        let Self { engine, settings } = self;
        if !settings.lazy {
            let mut once = EngineSettings::clone(&settings);
            once.tries_once = true;
            let first_answer = async {
                is_ready.cancelled().await;
                tokio::time::sleep(FIRST_ANSWER).await;
            };
            tokio::select! {
                started = engine.start_with(Arc::new(once), Base::Own) => match started {
                    Ok(()) => return Ok(()),
                    Err(error) => crate::logging::warn!(
                        engine = %settings.engine,
                        error = %format!("{error:?}"),
                        "the node could not be started; it is retried in the background"
                    ),
                },
                () = first_answer => crate::logging::warn!(
                    engine = %settings.engine,
                    "the node gives no answer; it is retried in the background. {}",
                    settings.describe("url"),
                ),
            }
        }
        let mut without = EngineSettings::clone(&settings);
        without.lazy = true;
        engine.start_with(Arc::new(without), Base::Own).await?;
        if !settings.lazy {
            engine.seek();
        }
        Ok(())
    }
}

impl<DB: Backend> Engine<DB> {
    /// The node of this name: an engine of the same kind, whose pool is started and closed with this one's.
    ///
    /// In a test with a database of its own, every node is that database.
    ///
    /// ```no_run
    /// # async fn list(db: poolhouse::PgEngine) -> Result<(), poolhouse::Error> {
    /// let replica = db.node("replica1")?;
    /// let n: i64 = sqlx::query_scalar("SELECT count(*) FROM band").fetch_one(&replica).await?;
    /// # let _ = n;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// There is no such node. The message lists the existing ones.
    pub fn node(&self, name: &str) -> Result<Self, Error> {
        let nodes = self.0.nodes.list();
        if let Some(node) = nodes.iter().find(|node| node.name == name) {
            let server = node.server.as_ref();
            return Ok(server.map_or(self, |server| &server.engine).clone());
        }
        let known: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        Err(UsageError::unknown_node(self.name(), name, &known).into())
    }

    /// Returns a node for reading, or this engine when no node is reachable. The call sends nothing to a server. With `lazy`, the
    /// first call begins to connect to the nodes in the background, and returns this engine.
    ///
    /// The nodes whose servers answered last take turns. A replica may lag: the latest writes through the engine may not be
    /// visible there. [`reader_after`](Engine::reader_after) waits for them.
    #[must_use]
    pub fn reader(&self) -> Self {
        let mut nodes = self.0.nodes.in_turn();
        nodes.next().unwrap_or_else(|| self.clone())
    }

    /// Begins the background search for a server that did not answer at the start.
    fn seek(&self) {
        if let Some(pool) = self.pool() {
            pool.seek();
        }
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use crate::settings::{EngineSettings, InTest, Layers, Migrations, Settings, Sources};
    use crate::{Engine, SqliteEngine};

    #[test]
    fn in_a_test_with_a_database_of_its_own_every_node_is_that_database() {
        let in_test = InTest {
            migrations: Migrations::None,
        };
        let configured = |isolation: &str| -> SqliteEngine {
            let node = Settings::new().url("sqlite:replica.db");
            let settings = Settings::new().engine("of_a_test").url("sqlite:primary.db");
            let settings = settings.isolation(isolation).node("replica1", node);
            let sources = Sources::of_process().unwrap();
            let layers = Layers::collect(&settings, &sources, Some(in_test.clone())).unwrap();
            Engine::new(EngineSettings::read(&layers, None).unwrap()).unwrap()
        };
        for isolation in ["database", "rollback"] {
            let node = configured(isolation).node("replica1").unwrap();
            assert_eq!(node.name(), "of_a_test");
        }
        let node = configured("none").node("replica1").unwrap();
        assert_eq!(node.name(), "of_a_test/replica1");
    }
}
