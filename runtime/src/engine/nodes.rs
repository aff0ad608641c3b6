//! Nodes: further servers of the same engine, such as read replicas.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::future::{BoxFuture, FutureExt, join_all};
use tokio_util::sync::CancellationToken;

use super::{Base, Engine};
use crate::backend::Backend;
use crate::error::{Error, UsageError};
use crate::settings::EngineSettings;

/// The nodes of one engine, each an engine of the same kind that is started and closed with it.
pub(super) struct Nodes<DB: Backend> {
    list: RwLock<List<DB>>,
    /// Where the next reader is looked for.
    next: AtomicUsize,
}

/// Each with its name; `None` is the engine itself, in a test that has a database of its own.
type List<DB> = Vec<(String, Option<Engine<DB>>)>;

impl<DB: Backend> Nodes<DB> {
    pub(super) fn new(settings: &EngineSettings) -> Result<Self, Error> {
        Ok(Self {
            list: RwLock::new(list(settings, &[])?),
            next: AtomicUsize::new(0),
        })
    }

    /// Takes on the nodes of these settings, while none is started. A node that was there before stays the same engine.
    pub(super) fn configure(&self, settings: &EngineSettings) -> Result<(), Error> {
        let list = list(settings, &self.list())?;
        *self.list.write().unwrap_or_else(PoisonError::into_inner) = list;
        Ok(())
    }

    /// Starts all of them, side by side. One that is not there yet is started without a connection: whoever writes to the
    /// primary is not to wait for a replica.
    ///
    /// In a box, as an engine's start is part of it.
    pub(super) fn start(&self) -> BoxFuture<'_, Result<(), Error>> {
        let starts = self.servers().into_iter().map(|node| async move {
            let settings = Arc::clone(&node.connector().settings);
            let Err(error) = node.start_with(Arc::clone(&settings), Base::Own).await else {
                return Ok(());
            };
            tracing::warn!(engine = %settings.engine, %error, "the node is not there; it is tried again in the background");
            let mut settings = EngineSettings::clone(&settings);
            settings.lazy = true;
            node.start_with(Arc::new(settings), Base::Own).await?;
            node.seek();
            Ok(())
        });
        async move {
            match join_all(starts).await.into_iter().find(Result::is_err) {
                None => Ok(()),
                Some(error) => {
                    self.close(&CancellationToken::new()).await;
                    error
                }
            }
        }
        .boxed()
    }

    /// Closes those that are started, side by side.
    pub(super) fn close<'a>(&'a self, hurry: &'a CancellationToken) -> BoxFuture<'a, ()> {
        let started = self.servers().into_iter().filter(Engine::is_started);
        let closes: Vec<_> = started
            .map(|node| async move { node.close(hurry).await })
            .collect();
        async move { drop(join_all(closes).await) }.boxed()
    }

    pub(super) fn servers(&self) -> Vec<Engine<DB>> {
        self.list()
            .into_iter()
            .filter_map(|(_, node)| node)
            .collect()
    }

    fn list(&self) -> List<DB> {
        self.list
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn list<DB: Backend>(
    settings: &EngineSettings,
    known: &[(String, Option<Engine<DB>>)],
) -> Result<List<DB>, Error> {
    let nodes = settings.nodes.iter().map(|(name, of_node)| {
        let Some(of_node) = of_node.clone() else {
            return Ok((name.clone(), None));
        };
        let known = known.iter().find(|(known, _)| known == name);
        let node = match known.and_then(|(_, node)| node.clone()) {
            Some(node) => {
                node.configure(of_node)?;
                node
            }
            None => Engine::new(of_node)?,
        };
        Ok((name.clone(), Some(node)))
    });
    nodes.collect()
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
    /// There is no such node. The message lists those that there are.
    pub fn node(&self, name: &str) -> Result<Self, Error> {
        let nodes = self.0.nodes.list();
        if let Some((_, node)) = nodes.iter().find(|(known, _)| known == name) {
            return Ok(node.as_ref().unwrap_or(self).clone());
        }
        let known: Vec<&str> = nodes.iter().map(|(known, _)| known.as_str()).collect();
        Err(UsageError::unknown_node(self.name(), name, &known).into())
    }

    /// A node for reading: one whose server was there when it was last heard of, each in turn; or this engine itself when
    /// there is none. It asks nobody, so it costs nothing.
    ///
    /// A replica may be behind: what was just written through the engine may not be there yet.
    #[must_use]
    pub fn reader(&self) -> Self {
        let servers = self.0.nodes.servers();
        let first = self.0.nodes.next.fetch_add(1, Relaxed);
        let in_turn = (0..servers.len()).map(|step| (first.wrapping_add(step)) % servers.len());
        in_turn
            .map(|place| &servers[place])
            .find(|node| node.pool().is_some_and(|pool| pool.is_reachable()))
            .unwrap_or(self)
            .clone()
    }

    /// Looks for a server that was not there at the start.
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
