//! Starting an engine's pool, and its nodes with it.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, RwLockWriteGuard, Weak};
use std::time::Instant;

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::handle::EngineShared;
use super::node_list::Configured;
use super::phase::{Base, Closing, EnginePhase, Failure, Start, StartOutcome, StartedPool, Whole};
use super::prepare::{prepare, report_start};
use super::{Engine, Server};
use crate::backend::Backend;
use crate::background;
use crate::error::{Error, StartError, UsageError};
use crate::lock::lock;
use crate::logging::with_callers_subscriber;
use crate::pool::{Connector, Pool};
use crate::settings::EngineSettings;

impl<DB: Backend> Engine<DB> {
    /// Starts the pool: connects, creates `extensions`, runs `migrations`. Later queries use it.
    ///
    /// Starting a started pool shares it: the pool closes when [`close_connection_pool`](Engine::close_connection_pool) was
    /// called as often. Of several concurrent callers one starts the pool; the others wait and share it.
    ///
    /// # Errors
    ///
    /// The server could not be reached within `start_timeout` (default 30 s) or rejected the connection, a migration failed, or
    /// a close cancelled the start. Open connections are closed before that. A connection of the engine or a node that was still
    /// being opened is closed in the background, within seconds; [`wait_closed`](crate::wait_closed) waits for that.
    ///
    /// # Cancellation
    ///
    /// The start is cancelled when all its callers are dropped. Open connections, nodes included, are then closed in the
    /// background; [`wait_closed`](crate::wait_closed) waits for that.
    pub fn start_connection_pool(&self) -> impl Future<Output = Result<(), Error>> + Send + '_ {
        async move {
            let settings = Arc::clone(&self.connector().settings);
            self.start_with(settings, Base::Own).await
        }
    }

    /// Starts the pool with these settings, or shares one that was started with the same.
    pub(crate) async fn start_with(
        &self,
        settings: Arc<EngineSettings>,
        base: Base,
    ) -> Result<(), Error> {
        if Handle::try_current().is_err() {
            return Err(UsageError::NoRuntime {
                engine: self.0.name.clone(),
            }
            .into());
        }
        let mut configured = None;
        loop {
            match self.enter(&settings, base, &mut configured)? {
                Entered::Shares => return Ok(()),
                Entered::Waits(waiting) => match waiting.outcome().await {
                    StartOutcome::Started => return Ok(()),
                    StartOutcome::Failed(failure) => {
                        if let Some(error) = failure.error() {
                            return Err(error);
                        }
                    }
                    StartOutcome::Cancelled => return Err(StartError::cancelled(&settings).into()),
                },
                Entered::After(start) => drop(start.over().await),
                Entered::AfterClose(closing) => {
                    closing.report(&CancellationToken::new()).await;
                }
                Entered::NotConfigured => configured = Some(Configured::new(&settings)?),
            }
        }
    }

    /// Shares the started pool, joins a start, or begins one.
    fn enter(
        &self,
        settings: &Arc<EngineSettings>,
        base: Base,
        configured: &mut Option<Configured<DB>>,
    ) -> Result<Entered<DB>, Error> {
        let mut phase = self.phase_mut();
        match &mut *phase {
            EnginePhase::Started(StartedPool {
                pool,
                owners,
                connector,
                ..
            }) => {
                settings.same_as(&connector.settings)?;
                if base == Base::Sqlx && pool.as_sqlx().is_none() {
                    return Err(StartError::not_on_sqlx(settings).into());
                }
                *owners += 1;
                Ok(Entered::Shares)
            }
            EnginePhase::Starting {
                connector, start, ..
            } => {
                if !start.is_cancelled() {
                    settings.same_as(&connector.settings)?;
                    if base == Base::Sqlx && !start.is_on_sqlx() {
                        return Err(StartError::not_on_sqlx(settings).into());
                    }
                    if start.join() {
                        return Ok(Entered::Waits(Waiting::new(self, start)));
                    }
                }
                Ok(Entered::After(Arc::clone(start)))
            }
            EnginePhase::Closing { closing, .. } => Ok(Entered::AfterClose(Arc::clone(closing))),
            EnginePhase::Configured(known) | EnginePhase::Closed(known) => {
                let before = Arc::clone(known);
                // A driver's options also contain data from elsewhere, such as a password file. Each start but the first reads
                // them again.
                let is_configured = matches!(&*phase, EnginePhase::Configured(_))
                    && Arc::ptr_eq(&before.settings, settings)
                    && !self.0.nodes.are_foreign.load(Relaxed);
                let connector = match configured.take() {
                    Some(configured) => self.0.nodes.set(configured),
                    None if is_configured => Arc::clone(&before),
                    None => return Ok(Entered::NotConfigured),
                };
                Ok(Entered::Waits(
                    self.begin_start(phase, connector, before, base),
                ))
            }
        }
    }

    /// Begins a start in a task of its own.
    fn begin_start(
        &self,
        mut phase: RwLockWriteGuard<'_, EnginePhase<DB>>,
        connector: Arc<Connector<DB>>,
        before: Arc<Connector<DB>>,
        base: Base,
    ) -> Waiting<DB> {
        let start = Start::new(base);
        let waiting = Waiting::new(self, &start);
        let was_closed = phase.is_closed();
        *phase = EnginePhase::Starting {
            connector: Arc::clone(&connector),
            start: Arc::clone(&start),
            before,
            was_closed,
        };
        drop(phase);
        let span = tracing::info_span!("start_connection_pool", engine = %self.0.name);
        let begun = BegunStart {
            engine: Some(self.clone()),
            start,
        };
        // Boxed, because the future is large and each call below moves it.
        let run = Box::pin(begun.run(connector, base));
        tokio::spawn(with_callers_subscriber(run.instrument(span)));
        waiting
    }

    /// Waits until no cancelled start and no close is under way.
    pub(crate) async fn settled(&self) {
        loop {
            let in_progress = match &*self.phase() {
                EnginePhase::Starting { start, .. } if start.is_cancelled() => {
                    Ok(Arc::clone(start))
                }
                EnginePhase::Closing { closing, .. } => Err(Arc::clone(closing)),
                _ => return,
            };
            match in_progress {
                Ok(start) => drop(start.over().await),
                Err(closing) => drop(closing.report(&CancellationToken::new()).await),
            }
        }
    }
}

/// The immediate result of a request to start.
enum Entered<DB: Backend> {
    /// The pool was started, and the caller owns it too.
    Shares,
    /// The start is under way.
    Waits(Waiting<DB>),
    /// A cancelled start has to end first.
    After(Arc<Start>),
    /// A close has to end first.
    AfterClose(Arc<Closing>),
    /// The driver has to parse the settings first, outside the lock.
    NotConfigured,
}

/// A caller that waits for a start. Dropped before the end, it leaves the start; dropped after the end and before it has the
/// outcome, it closes its share of the pool.
struct Waiting<DB: Backend> {
    engine: Engine<DB>,
    start: Arc<Start>,
    noticed: bool,
}

impl<DB: Backend> Waiting<DB> {
    fn new(engine: &Engine<DB>, start: &Arc<Start>) -> Self {
        Self {
            engine: engine.clone(),
            start: Arc::clone(start),
            noticed: false,
        }
    }

    async fn outcome(mut self) -> StartOutcome {
        let outcome = self.start.over().await;
        self.noticed = true;
        outcome
    }
}

impl<DB: Backend> Drop for Waiting<DB> {
    fn drop(&mut self) {
        if self.noticed {
            return;
        }
        let phase = self.engine.phase_mut();
        match &*phase {
            EnginePhase::Starting { start, .. } if Arc::ptr_eq(start, &self.start) => start.leave(),
            // The caller has owned the pool since the end of the start.
            EnginePhase::Started(started) if Arc::ptr_eq(&started.start, &self.start) => {
                drop(phase);
                self.engine.begin_close();
            }
            _ => {}
        }
    }
}

/// The task of a start. However it ends, it sets the next phase and notifies the callers.
struct BegunStart<DB: Backend> {
    /// `None` before the callers are notified, because they may then count the handles on the engine.
    engine: Option<Engine<DB>>,
    start: Arc<Start>,
}

/// The pool that a start has opened so far.
struct Opening<DB: Backend> {
    pool: Mutex<Option<Pool<DB>>>,
}

impl<DB: Backend> BegunStart<DB> {
    async fn run(mut self, connector: Arc<Connector<DB>>, base: Base) {
        let Some(engine) = self.engine.clone() else {
            return;
        };
        let opening = Opening {
            pool: Mutex::new(None),
        };
        let opened = {
            let open = engine.open(&opening, &connector, base);
            let open = AssertUnwindSafe(open).catch_unwind();
            tokio::select! {
                biased;
                () = self.start.cancelled() => Err(StartOutcome::Cancelled),
                opened = open => match opened {
                    Ok(Ok(server)) => Ok(server),
                    Ok(Err(error)) => Err(StartOutcome::Failed(Failure::new(Whole::Error(error)))),
                    Err(payload) => Err(StartOutcome::Failed(Failure::new(Whole::Panic(payload)))),
                },
            }
        };
        let pool = opening
            .pool
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let (pool, outcome) = match (opened, pool) {
            (Ok(server), Some(pool)) => {
                match started(&engine, &self.start, pool, connector, server) {
                    None => {
                        drop(engine);
                        self.engine = None;
                        return self.start.is_over(StartOutcome::Started);
                    }
                    Some(pool) => (Some(pool), StartOutcome::Cancelled),
                }
            }
            // Cannot happen: `open` stores the pool before it succeeds.
            (Ok(_), None) => (None, StartOutcome::Cancelled),
            (Err(outcome), pool) => (pool, outcome),
        };
        let force = CancellationToken::new();
        let close_pool = async {
            if let Some(pool) = &pool {
                pool.close(&force).await;
            }
        };
        futures_util::future::join(close_pool, engine.0.nodes.close(&force)).await;
        drop(engine);
        self.ended(outcome);
    }

    /// Restores the former phase, or sets `Closed` after a close.
    fn ended(&mut self, outcome: StartOutcome) {
        let Some(engine) = self.engine.take() else {
            return;
        };
        let mut phase = engine.phase_mut();
        if let EnginePhase::Starting {
            connector,
            start,
            before,
            was_closed,
        } = &*phase
            && Arc::ptr_eq(start, &self.start)
        {
            let nodes = &engine.0.nodes;
            nodes
                .are_foreign
                .fetch_or(!Arc::ptr_eq(connector, before), Relaxed);
            *phase = if *was_closed || self.start.is_closed() {
                EnginePhase::Closed(Arc::clone(before))
            } else {
                EnginePhase::Configured(Arc::clone(before))
            };
        }
        drop(phase);
        drop(engine);
        self.start.is_over(outcome);
    }
}

impl<DB: Backend> Drop for BegunStart<DB> {
    /// Ends the start when the runtime ends before the task.
    fn drop(&mut self) {
        self.ended(StartOutcome::Cancelled);
    }
}

/// Hands the pool to the callers; returns it when the start was cancelled.
fn started<DB: Backend>(
    engine: &Engine<DB>,
    start: &Arc<Start>,
    pool: Pool<DB>,
    connector: Arc<Connector<DB>>,
    server: Option<Server>,
) -> Option<Pool<DB>> {
    let at_end = {
        let (engine, start) = (Arc::downgrade(&engine.0), Arc::downgrade(start));
        background::at_runtime_end(move || runtime_ended(&engine, &start))
    };
    let mut phase = engine.phase_mut();
    if start.is_cancelled() {
        return Some(pool);
    }
    *phase = EnginePhase::Started(StartedPool {
        pool,
        owners: start.waiting(),
        connector,
        server,
        runtime: Handle::current(),
        at_end,
        start: Arc::clone(start),
    });
    None
}

/// Sets `Closed` at the end of the pool's runtime, whose tasks served the pool and could close it.
fn runtime_ended<DB: Backend>(engine: &Weak<EngineShared<DB>>, start: &Weak<Start>) {
    let (Some(shared), Some(start)) = (engine.upgrade(), start.upgrade()) else {
        return;
    };
    let engine = Engine(shared);
    let mut phase = engine.phase_mut();
    let connector = match &*phase {
        EnginePhase::Started(started) if Arc::ptr_eq(&started.start, &start) => {
            Arc::clone(&started.connector)
        }
        _ => return,
    };
    let ended = std::mem::replace(&mut *phase, EnginePhase::Closed(connector));
    drop(phase);
    // Outside the lock, because dropping the pool ends its connections.
    drop(ended);
}

impl<DB: Backend> Engine<DB> {
    /// Opens the pool and the nodes concurrently. The pool is in `opening` as soon as it exists, and each node cleans up after
    /// itself, so that this future can be dropped at any await point.
    async fn open(
        &self,
        opening: &Opening<DB>,
        connector: &Arc<Connector<DB>>,
        base: Base,
    ) -> Result<Option<Server>, Error> {
        let begun = Instant::now();
        connector.warn_of_ignored();
        let is_ready = CancellationToken::new();
        let own = async {
            let pool = match base {
                Base::Own => Pool::start(Arc::clone(connector)).await?,
                Base::Sqlx => Pool::start_on_sqlx(Arc::clone(connector)).await?,
            };
            *lock(&opening.pool) = Some(pool.clone());
            let server = prepare(&pool, connector).await?;
            report_start(&pool, connector, server.as_ref(), begun);
            is_ready.cancel();
            Ok::<_, Error>(server)
        };
        let (server, ()) =
            futures_util::future::try_join(own, self.0.nodes.start(&is_ready)).await?;
        Ok(server)
    }
}
