//! Closing an engine's pool, and its nodes with it.

use std::future::Future;
use std::mem;
use std::sync::Arc;

use futures_util::future::{join, join_all};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::Engine;
use super::phase::{Closing, EnginePhase, Start, StartedPool};
use crate::backend::Backend;
use crate::background;
use crate::logging::with_callers_subscriber;
use crate::pool::{CloseReport, Left, Pool};

impl<DB: Backend> Engine<DB> {
    /// Closes the pool and its nodes concurrently. It never hangs, and never panics.
    ///
    /// New checkouts are refused, waiters fail at once, and idle connections are closed. Connections in use have up to
    /// `close_timeout` (default 5 s) to return; then their sessions are terminated on the server, if there is one.
    ///
    /// A start under way is cancelled; a connection that it was opening is closed in the background. A close under way is joined,
    /// and its report is returned. If the pool is not started, nothing is done, and the report says so.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, the close goes on in the background; [`wait_closed`](crate::wait_closed) waits for it.
    pub fn close_connection_pool(&self) -> impl Future<Output = CloseReport> + Send + '_ {
        async move { self.close_forced_by(&CancellationToken::new()).await }
    }

    /// Closes the pool if the caller is its last owner. `force` ends the wait for connections in use.
    pub(crate) async fn close_forced_by(&self, force: &CancellationToken) -> CloseReport {
        match self.begin_close() {
            CloseBegin::Left(left) => self.left(left),
            CloseBegin::CancelsStart(start) => {
                let limit = self.connector().settings.close_timeout;
                let over = async {
                    // A timer needs a runtime.
                    if Handle::try_current().is_ok() {
                        let _ = tokio::time::timeout(limit, start.over()).await;
                    } else {
                        start.over().await;
                    }
                };
                force.run_until_cancelled(over).await;
                self.left(Left::StartCancelled)
            }
            CloseBegin::Closes(closing) => match closing.report(force).await {
                Some(report) => report,
                None => self.left(Left::NotStarted),
            },
        }
    }

    /// Takes the first step of a close without waiting: every later use is refused. A task does the rest.
    pub(crate) fn begin_close(&self) -> CloseBegin {
        let mut phase = self.phase_mut();
        match &mut *phase {
            EnginePhase::Configured(_) | EnginePhase::Closed(_) => {
                return CloseBegin::Left(Left::NotStarted);
            }
            EnginePhase::Closing { closing, .. } => return CloseBegin::Closes(Arc::clone(closing)),
            EnginePhase::Starting { start, .. } => {
                start.close();
                return CloseBegin::CancelsStart(Arc::clone(start));
            }
            EnginePhase::Started(StartedPool { owners, .. }) if *owners > 1 => {
                *owners -= 1;
                return CloseBegin::Left(Left::Shared);
            }
            EnginePhase::Started(_) => {}
        }
        let closing = Closing::new();
        let connector = Arc::clone(phase.connector());
        let limit = connector.settings.close_timeout;
        let before = mem::replace(
            &mut *phase,
            EnginePhase::Closing {
                connector,
                closing: Arc::clone(&closing),
            },
        );
        let nodes = self.0.nodes.begin_close();
        drop(phase);
        let EnginePhase::Started(started) = before else {
            unreachable!("the others have returned above");
        };
        let begun = BegunClose {
            engine: Some(self.clone()),
            name: self.0.name.clone(),
            closing: Arc::clone(&closing),
        };
        let span = tracing::info_span!("close_connection_pool", engine = %self.0.name);
        let run = Box::pin(begun.run(started.pool, nodes));
        let run = with_callers_subscriber(run.instrument(span));
        let run = background::track_close(limit, run);
        // On the caller's runtime, because that one is known to run.
        Handle::try_current().unwrap_or(started.runtime).spawn(run);
        drop(started.at_end);
        CloseBegin::Closes(closing)
    }

    fn left(&self, left: Left) -> CloseReport {
        let report = CloseReport::left(&self.0.name, left);
        crate::logging::info!(engine = %self.0.name, "{report}");
        report
    }
}

/// The result of the first step of a close.
pub(crate) enum CloseBegin {
    /// There is nothing to close.
    Left(Left),
    /// A start that was under way is cancelled.
    CancelsStart(Arc<Start>),
    /// The close is under way.
    Closes(Arc<Closing>),
}

/// The task of a close. However it ends, it sets `Closed` and notifies the callers.
struct BegunClose<DB: Backend> {
    /// `None` before the callers are notified, because they may then count the handles on the engine.
    engine: Option<Engine<DB>>,
    name: String,
    closing: Arc<Closing>,
}

impl<DB: Backend> BegunClose<DB> {
    async fn run(mut self, pool: Pool<DB>, nodes: Vec<Arc<Closing>>) {
        let force = self.closing.force();
        let nodes = join_all(nodes.iter().map(|node| node.report(force)));
        let (report, _) = join(pool.close(force), nodes).await;
        if report.is_clean() {
            crate::logging::info!(engine = %self.name, "{report}");
        } else {
            crate::logging::warn!(engine = %self.name, "{report}");
        }
        self.is_over(report);
    }

    fn is_over(&mut self, report: CloseReport) {
        let Some(engine) = self.engine.take() else {
            return;
        };
        let mut phase = engine.phase_mut();
        if let EnginePhase::Closing { connector, closing } = &*phase
            && Arc::ptr_eq(closing, &self.closing)
        {
            *phase = EnginePhase::Closed(Arc::clone(connector));
        }
        drop(phase);
        drop(engine);
        self.closing.is_over(report);
    }
}

impl<DB: Backend> Drop for BegunClose<DB> {
    /// Ends the close when the runtime ends before the task. Open connections end with their tasks.
    fn drop(&mut self) {
        self.is_over(CloseReport::left(&self.name, Left::NotStarted));
    }
}
