//! The phases of an engine, and the transitions between them.
//!
//! ```text
//! Configured ──start──▶ Starting ──▶ Started ──last close──▶ Closing ──▶ Closed ──start──▶ Starting …
//!      ▲                   │ fails, or every caller is dropped
//!      └───────────────────┘ (back to where it was; a close during the start: Closed)
//! ```
//!
//! - The phase lock protects the phase, the count of callers that wait for a start, and the list of nodes. It is held for a
//!   few assignments, never across an await, and no code of the program runs under it. A node's phase lock may be taken
//!   under its engine's, never the other way round.
//! - A start and a close each run in a task of their own. Their callers wait for the outcome, and may be dropped.

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Server;
use crate::backend::Backend;
use crate::background::{self, AtRuntimeEnd};
use crate::error::{Error, StartError};
use crate::lock::lock;
use crate::pool::{CloseReport, Connector, Pool};

/// The implementation of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Base {
    /// The engine's own slots.
    #[default]
    Own,
    /// A `sqlx::Pool`, because a parameter asks for one.
    Sqlx,
}

pub(super) enum EnginePhase<DB: Backend> {
    /// Queries open connections of their own.
    Configured(Arc<Connector<DB>>),
    /// The pool is being started with this connector. Queries behave as before the start.
    Starting {
        connector: Arc<Connector<DB>>,
        start: Arc<Start>,
        /// The connector to go back to when the start fails.
        before: Arc<Connector<DB>>,
        /// Whether the engine was closed before.
        was_closed: bool,
    },
    Started(StartedPool<DB>),
    /// The pool is being closed. Every use is refused.
    Closing {
        connector: Arc<Connector<DB>>,
        closing: Arc<Closing>,
    },
    /// The pool was closed.
    Closed(Arc<Connector<DB>>),
}

/// Set when the run that has started an engine is asked to end. Each run has its own `Arc`, which identifies it.
pub(crate) type Draining = Arc<CancellationToken>;

pub(super) struct StartedPool<DB: Backend> {
    pub(super) pool: Pool<DB>,
    /// The number of starts without a close.
    pub(super) owners: usize,
    pub(super) connector: Arc<Connector<DB>>,
    pub(super) server: Option<Server>,
    /// The runtime that it was started on.
    pub(super) runtime: Handle,
    /// Closes the engine when that runtime ends.
    pub(super) at_end: Option<AtRuntimeEnd>,
    /// The start that opened the pool.
    pub(super) start: Arc<Start>,
}

impl<DB: Backend> EnginePhase<DB> {
    pub(super) fn connector(&self) -> &Arc<Connector<DB>> {
        match self {
            Self::Configured(connector)
            | Self::Starting { connector, .. }
            | Self::Started(StartedPool { connector, .. })
            | Self::Closing { connector, .. }
            | Self::Closed(connector) => connector,
        }
    }

    /// Whether every use is refused.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Closing { .. } | Self::Closed(_) => true,
            Self::Starting { was_closed, .. } => *was_closed,
            Self::Configured(_) | Self::Started(_) => false,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Configured(_) => "not started",
            Self::Starting { .. } => "starting",
            Self::Started(_) => "started",
            Self::Closing { .. } => "closing",
            Self::Closed(_) => "closed",
        }
    }
}

/// A start under way.
pub(crate) struct Start {
    base: Base,
    /// The callers that wait for it, each of which will own the pool. Changed under the phase lock only.
    waiting: AtomicUsize,
    /// Set when the start is to end without a pool.
    cancelled: CancellationToken,
    /// Whether a close cancelled it.
    closed: AtomicBool,
    outcome: watch::Sender<Option<StartOutcome>>,
    /// Makes [`wait_closed`](crate::wait_closed) wait until a cancelled start has closed its connections.
    cleanup: OnceLock<TaskTrackerToken>,
}

/// The outcome of a start.
#[derive(Clone)]
pub(super) enum StartOutcome {
    /// The pool is started, and each waiting caller owns it.
    Started,
    /// The pool and the nodes are closed.
    Failed(Arc<Failure>),
    /// It was cancelled; the pool and the nodes are closed.
    Cancelled,
}

/// Why a start failed: the error for the first caller, and a copy, if possible, for the others.
pub(super) struct Failure {
    whole: Mutex<Option<Whole>>,
    copy: Option<StartError>,
}

pub(super) enum Whole {
    Error(Error),
    /// Code of the program, or the driver, has panicked.
    Panic(Box<dyn Any + Send>),
}

impl Failure {
    pub(super) fn new(whole: Whole) -> Arc<Self> {
        let copy = match &whole {
            Whole::Error(Error::Start(error)) => Some(StartError::clone(error)),
            _ => None,
        };
        Arc::new(Self {
            whole: Mutex::new(Some(whole)),
            copy,
        })
    }

    /// The error; `None` when another caller has it and it cannot be copied.
    pub(super) fn error(&self) -> Option<Error> {
        let mut whole = lock(&self.whole);
        let taken = whole.take();
        drop(whole);
        match taken {
            Some(Whole::Error(error)) => Some(error),
            Some(Whole::Panic(payload)) => std::panic::resume_unwind(payload),
            None => self.copy.clone().map(Into::into),
        }
    }
}

impl Start {
    /// A start that one caller waits for.
    pub(super) fn new(base: Base) -> Arc<Self> {
        Arc::new(Self {
            base,
            waiting: AtomicUsize::new(1),
            cancelled: CancellationToken::new(),
            closed: AtomicBool::new(false),
            outcome: watch::Sender::new(None),
            cleanup: OnceLock::new(),
        })
    }

    /// Adds a waiting caller; false when the start is cancelled. Under the phase lock.
    pub(super) fn join(&self) -> bool {
        if self.cancelled.is_cancelled() {
            return false;
        }
        self.waiting.fetch_add(1, Relaxed);
        true
    }

    /// Removes a waiting caller; the last one cancels the start. Under the phase lock.
    pub(super) fn leave(&self) {
        if self.waiting.fetch_sub(1, Relaxed) == 1 {
            self.cancel();
        }
    }

    /// The number of waiting callers. Under the phase lock.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    fn cancel(&self) {
        let _ = self.cleanup.set(background::token());
        self.cancelled.cancel();
    }

    /// Cancels it for a close. Under the phase lock.
    pub(super) fn close(&self) {
        self.closed.store(true, Relaxed);
        self.cancel();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    pub(super) fn is_on_sqlx(&self) -> bool {
        self.base == Base::Sqlx
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.is_cancelled()
    }

    pub(super) async fn cancelled(&self) {
        self.cancelled.cancelled().await;
    }

    /// Notifies the waiting callers. The first outcome stands.
    pub(super) fn is_over(&self, outcome: StartOutcome) {
        self.outcome.send_if_modified(|known| {
            let first = known.is_none();
            known.get_or_insert(outcome);
            first
        });
    }

    /// Waits for the outcome.
    pub(super) async fn over(&self) -> StartOutcome {
        let mut outcome = self.outcome.subscribe();
        match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(StartOutcome::Cancelled),
            // Cannot happen: the sender is in `self`.
            Err(_) => StartOutcome::Cancelled,
        }
    }
}

/// A close under way, which its callers share.
pub(crate) struct Closing {
    report: watch::Sender<Option<CloseReport>>,
    /// Set when connections in use must end now.
    force: CancellationToken,
}

impl Closing {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            report: watch::Sender::new(None),
            force: CancellationToken::new(),
        })
    }

    pub(super) fn force(&self) -> &CancellationToken {
        &self.force
    }

    /// Notifies the waiting callers. The first report stands.
    pub(super) fn is_over(&self, report: CloseReport) {
        self.report.send_if_modified(|known| {
            let first = known.is_none();
            known.get_or_insert(report);
            first
        });
    }

    /// Waits for the report; `force` ends connections in use at once.
    pub(crate) async fn report(&self, force: &CancellationToken) -> Option<CloseReport> {
        let mut report = self.report.subscribe();
        tokio::select! {
            biased;
            report = report.wait_for(Option::is_some) => {
                return report.ok().and_then(|report| report.clone());
            }
            () = force.cancelled() => self.force.cancel(),
        }
        let report = report.wait_for(Option::is_some).await;
        report.ok().and_then(|report| report.clone())
    }
}
