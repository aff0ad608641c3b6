//! The handle on an engine: its settings, and connections from its pool.

use std::fmt;
use std::future::Future;
use std::num::NonZeroU32;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::Server;
use super::node_list::{Configured, Nodes};
use super::phase::{Draining, EnginePhase, StartedPool};
use crate::backend::{Backend, OptionsOf};
use crate::error::{AcquireError, Error, UsageError};
use crate::logging;
use crate::pool::{CheckedOut, Checkout, Connector, Holder, Pool, Status};
use crate::settings::{EngineSettings, MOST_CONNECTIONS};

/// One configured database: its address, kind and settings, and its pool once started. Cheap to clone.
///
/// `&Engine` is a [`sqlx::Executor`]: `query`, `query_as`, `query_scalar`, the `query!` family and streams take it where
/// they took `&sqlx::Pool`.
///
/// # Before the pool is started
///
/// Each query opens a connection of its own and closes it after, as in Piccolo. That is fine for a script and wasteful for
/// a service, so the first one logs a warning; [`require_pool`](Engine::require_pool) makes it an error.
///
/// # After the pool is closed
///
/// Every use is an error of the kind [`AcquireKind::Closed`](crate::AcquireKind::Closed), until the pool is started again.
pub struct Engine<DB: Backend>(pub(super) Arc<EngineShared<DB>>);

pub(super) struct EngineShared<DB: Backend> {
    pub(super) name: String,
    phase: RwLock<EnginePhase<DB>>,
    pub(super) nodes: Nodes<Engine<DB>>,
    require_pool: AtomicBool,
    warned: AtomicBool,
    /// Whether the log has warned of a transaction inside another one, on a second connection.
    pub(super) warned_inside: AtomicBool,
    /// The draining tokens of the runs that have started the engine. They stay when a body closes and starts the pool by hand.
    /// Held for a look or a change; the phase lock may be held around it.
    pub(super) draining: Mutex<Vec<Draining>>,
}

// The futures of public methods are declared as `Send`. If the compiler inferred that where they are used with a known
// database, it would fail: <https://github.com/rust-lang/rust/issues/102211>.
impl<DB: Backend> Engine<DB> {
    /// An engine from the configuration, not started.
    pub(crate) fn new(settings: impl Into<Arc<EngineSettings>>) -> Result<Self, Error> {
        Ok(Self::of(Configured::new(&settings.into())?))
    }

    /// An engine, not started.
    pub(super) fn of(configured: Configured<DB>) -> Self {
        let name = configured.connector.settings.engine.clone();
        let nodes = Nodes::none();
        let connector = nodes.set(configured);
        Self(Arc::new(EngineShared {
            name,
            phase: RwLock::new(EnginePhase::Configured(connector)),
            nodes,
            require_pool: AtomicBool::new(false),
            warned: AtomicBool::new(false),
            warned_inside: AtomicBool::new(false),
            draining: Mutex::default(),
        }))
    }

    /// Whether the pool is neither started nor being started or closed.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(
            &*self.phase(),
            EnginePhase::Configured(_) | EnginePhase::Closed(_)
        )
    }

    /// The number of handles on the engine.
    pub(crate) fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Replaces the settings of an engine whose pool is not started.
    ///
    /// # Errors
    ///
    /// The settings cannot be used; or the pool is started, or being started, with other ones, which it keeps.
    pub(crate) fn configure(&self, settings: &Arc<EngineSettings>) -> Result<(), Error> {
        if let EnginePhase::Starting { connector, .. }
        | EnginePhase::Started(StartedPool { connector, .. }) = &*self.phase()
        {
            return Ok(settings.same_as(&connector.settings)?);
        }
        // Outside the lock, because it may run code of the program.
        let configured = Configured::new(settings)?;
        match self.take_on(configured) {
            None => Ok(()),
            Some(started) => Ok(settings.same_as(&started.settings)?),
        }
    }

    /// Replaces the settings and the nodes, or returns the connector of a pool that is started or being started.
    pub(super) fn take_on(&self, configured: Configured<DB>) -> Option<Arc<Connector<DB>>> {
        let mut phase = self.phase_mut();
        match &mut *phase {
            EnginePhase::Configured(known) | EnginePhase::Closed(known) => {
                *known = self.0.nodes.set(configured);
            }
            EnginePhase::Closing { connector, .. } => *connector = self.0.nodes.set(configured),
            EnginePhase::Starting { connector, .. }
            | EnginePhase::Started(StartedPool { connector, .. }) => {
                return Some(Arc::clone(connector));
            }
        }
        None
    }

    /// The engine's name: `default`, or the one that the code and the configuration gave it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Takes a connection out of the pool, waiting up to `acquire_timeout` (default 30 s) for one.
    ///
    /// # Errors
    ///
    /// [`sqlx::Error::Io`] with an [`AcquireError`] inside, which gives the reason: for example the longest holder of a
    /// connection, or why the server could not be reached.
    ///
    /// # Cancellation
    ///
    /// The future may be dropped at any await point.
    #[track_caller]
    pub fn acquire(&self) -> impl Future<Output = sqlx::Result<Checkout<DB>>> + Send + use<DB> {
        let location = Location::caller();
        let engine = self.clone();
        async move { engine.checkout_for_caller(Holder::Code(location)).await }
    }

    /// The pool at this moment. Zero connections when it is not started.
    pub fn status(&self) -> Status {
        self.pool().map(|pool| pool.status()).unwrap_or_default()
    }

    /// Changes the maximum size of the pool until it is closed. Idle connections above it are closed now, those in use at their
    /// return.
    ///
    /// # Errors
    ///
    /// The pool is not started, or it is a `sqlx::Pool`, whose size is fixed; or the size is above 262143.
    pub fn resize(&self, max_size: NonZeroU32) -> Result<(), UsageError> {
        if max_size.get() > MOST_CONNECTIONS {
            return Err(UsageError::TooLarge {
                engine: self.0.name.clone(),
                size: max_size.get(),
                most: MOST_CONNECTIONS,
            });
        }
        match self.pool() {
            Some(pool) if pool.resize(max_size) => Ok(()),
            Some(_) => Err(UsageError::OnSqlx {
                engine: self.0.name.clone(),
            }),
            None => Err(UsageError::NotStarted {
                engine: self.0.name.clone(),
            }),
        }
    }

    /// Retires every connection that is open now, also those of the nodes, for a failover or rotated credentials: idle ones are
    /// closed at once, those in use at their return. New ones are opened as they are needed. Does nothing when the pool is
    /// not started. On a `sqlx::Pool`, each is closed at its next `acquire`.
    pub fn evict(&self) {
        if let Some(pool) = self.pool() {
            pool.evict();
        }
        self.0.nodes.evict();
    }

    /// The server's kind and version, as found at start. `None` before the start, and with `lazy` unless there were migrations or
    /// extensions to run.
    pub fn server(&self) -> Option<Server> {
        match &*self.phase() {
            EnginePhase::Started(started) => started.server.clone(),
            _ => None,
        }
    }

    /// The driver's connect options, for a connection outside the pool: those of `direct_url` if it is set. With several hosts,
    /// they name the host of the last opened connection. [`before_connect`](crate::Settings::before_connect) is not called; for
    /// `LISTEN`, `Engine::listener` calls it.
    pub fn connect_options(&self) -> OptionsOf<DB> {
        self.connector().direct().options().clone()
    }

    /// The `sqlx::Pool` that this engine runs on, if a function asked for one as a parameter.
    pub fn as_sqlx_pool(&self) -> Option<sqlx::Pool<DB>> {
        self.pool().and_then(|pool| pool.as_sqlx().cloned())
    }

    /// Whether a query before [`start_connection_pool`](Engine::start_connection_pool) is an error instead of a warning.
    /// Default: false.
    pub fn require_pool(&self, required: bool) {
        self.0.require_pool.store(required, Relaxed);
    }

    /// A checkout for code that may use the driver's connection.
    pub(crate) async fn checkout_for_caller(&self, holder: Holder) -> sqlx::Result<Checkout<DB>> {
        let mut connection = self.checkout(holder.clone()).await?;
        if connection.recount().await.is_err() {
            // The session has ended. The pool validates the others before it hands them out.
            drop(connection);
            connection = self.checkout(holder).await?;
            connection.recount().await?;
        }
        Ok(Checkout::new(connection))
    }

    pub(crate) async fn checkout(&self, holder: Holder) -> Result<CheckedOut<DB>, AcquireError> {
        match self.pool() {
            Some(pool) => pool.checkout(holder).await,
            // Boxed, so that the future of a query on a started pool stays small.
            None => Box::pin(self.checkout_alone(holder)).await,
        }
    }

    /// Opens a connection for one use, because the pool is not started.
    async fn checkout_alone(&self, holder: Holder) -> Result<CheckedOut<DB>, AcquireError> {
        let connector = {
            let phase = self.phase();
            if phase.is_closed() {
                return Err(AcquireError::closed(&phase.connector().settings));
            }
            Arc::clone(phase.connector())
        };
        if self.0.require_pool.load(Relaxed) {
            return Err(AcquireError::not_started(&connector.settings));
        }
        if !self.0.warned.swap(true, Relaxed) {
            logging::warn!(
                engine = %self.0.name,
                "a query before start_connection_pool(): this and every other one opens a connection of its own"
            );
        }
        let opened = connector.connect_to_the_end().await.map_err(|error| {
            let diagnosis = connector.dialect().diagnosis(&error);
            AcquireError::connect(&connector.settings, &diagnosis, error)
        })?;
        Ok(CheckedOut::alone(opened, connector, holder))
    }

    pub(super) fn pool(&self) -> Option<Pool<DB>> {
        match &*self.phase() {
            EnginePhase::Started(started) => Some(started.pool.clone()),
            _ => None,
        }
    }

    pub(crate) fn connector(&self) -> Arc<Connector<DB>> {
        Arc::clone(self.phase().connector())
    }

    pub(super) fn phase(&self) -> RwLockReadGuard<'_, EnginePhase<DB>> {
        // Nothing panics while the lock is held.
        self.0.phase.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn phase_mut(&self) -> RwLockWriteGuard<'_, EnginePhase<DB>> {
        // Nothing panics while the lock is held.
        self.0.phase.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<DB: Backend> Clone for Engine<DB> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<DB: Backend> fmt::Debug for Engine<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (phase, connector) = {
            let phase = self.phase();
            (phase.name(), Arc::clone(phase.connector()))
        };
        f.debug_struct("Engine")
            .field("name", &self.0.name)
            .field("database", &DB::KIND)
            .field("url", &connector.settings.url)
            .field("pool", &phase)
            .finish()
    }
}
