//! The list of an engine's nodes, without their behaviour: an engine holds the list, and the list holds engines.

use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, PoisonError, RwLock};

use crate::backend::Backend;
use crate::error::Error;
use crate::pool::Connector;
use crate::settings::EngineSettings;

/// The nodes of one engine, each an engine of the same kind that is started and closed with it.
pub(super) struct Nodes<E> {
    /// Changed under the engine's phase lock only.
    pub(super) list: RwLock<Vec<Node<E>>>,
    /// Whether a start that failed has left nodes of other settings than the engine's.
    pub(super) are_foreign: AtomicBool,
    /// Counts the calls for a reader, so that the nodes take turns.
    pub(super) next: AtomicUsize,
}

/// A node of an engine.
#[derive(Clone)]
pub(super) struct Node<E> {
    pub(super) name: String,
    /// `None` is the engine itself, in a test with a database of its own.
    pub(super) server: Option<NodeServer<E>>,
}

/// A node that is a server of its own.
#[derive(Clone)]
pub(super) struct NodeServer<E> {
    pub(super) engine: E,
    /// The settings as configured; the engine's may be those of a start without a connection.
    pub(super) settings: Arc<EngineSettings>,
}

/// The settings of an engine and of its nodes, as the driver has parsed them.
pub(super) struct Configured<DB: Backend> {
    pub(super) connector: Arc<Connector<DB>>,
    pub(super) nodes: Vec<(String, Option<Self>)>,
}

impl<DB: Backend> Configured<DB> {
    /// # Errors
    ///
    /// A URL that is of another database, or that the driver does not accept.
    pub(super) fn new(settings: &Arc<EngineSettings>) -> Result<Self, Error> {
        let connector = Arc::new(Connector::new(Arc::clone(settings))?);
        let nodes = settings.nodes.iter().map(|(name, of_node)| {
            let of_node = of_node.clone().map(Arc::new);
            let node = of_node.as_ref().map(Self::new).transpose()?;
            Ok((name.clone(), node))
        });
        let nodes = nodes.collect::<Result<_, Error>>()?;
        Ok(Self { connector, nodes })
    }
}

impl<E: Clone> Nodes<E> {
    pub(super) fn none() -> Self {
        Self {
            list: RwLock::new(Vec::new()),
            are_foreign: AtomicBool::new(false),
            next: AtomicUsize::new(0),
        }
    }

    pub(super) fn servers(&self) -> Vec<NodeServer<E>> {
        self.list()
            .into_iter()
            .filter_map(|node| node.server)
            .collect()
    }

    pub(super) fn list(&self) -> Vec<Node<E>> {
        self.list
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
