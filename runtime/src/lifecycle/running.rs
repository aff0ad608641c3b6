//! The started engines of one run.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use super::ending::Member;
use super::plan::Plan;
use super::shutdown::Shutdown;
use crate::backend::Backend;
use crate::background;
use crate::engine::{Draining, Engine, ErasedEngine};
use crate::error::Error;
use crate::finder::{self, Scope};
use crate::settings::Settings;
use crate::testing::{self, Isolated};

/// The engines of one run, from look-up to close.
///
/// If they are dropped while they are started, because the run's future was dropped, tasks close them.
pub struct RunningEngines {
    pub(super) plan: Box<Plan>,
    pub(super) shutdown: Shutdown,
    /// The scope in which the engines are registered.
    scope: Scope,
    /// The engines of which a start was begun, whatever its outcome.
    begun: Vec<Arc<dyn ErasedEngine>>,
    /// The started engines with their indexes in the plan, in its order once all are started.
    started: Started,
    /// The databases of a test.
    isolated: Option<Isolated>,
}

impl fmt::Debug for RunningEngines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningEngines")
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

type Started = Vec<(usize, Arc<dyn ErasedEngine>)>;

impl RunningEngines {
    /// The engines of a plan, none of them started.
    pub(super) fn new(plan: Box<Plan>) -> Self {
        Self {
            plan,
            shutdown: Shutdown::new(),
            scope: Scope::current(),
            begun: Vec::new(),
            started: Vec::new(),
            isolated: None,
        }
    }

    /// The longest time from a signal to the end of the closes. `main` waits for commit hooks before them.
    pub(super) fn longest_end(&self) -> Duration {
        let grace = self.plan.grace().unwrap_or_default();
        let delay = self.plan.program.drain_delay;
        let close = self.plan.longest_close();
        let hooks = if self.plan.for_process {
            close
        } else {
            Duration::ZERO
        };
        delay
            .saturating_add(grace)
            .saturating_add(hooks)
            .saturating_add(close)
    }

    /// Starts every engine, in a test on a database of its own.
    pub(super) async fn start(&mut self) -> Result<(), Error> {
        let Some(test) = &self.plan.test else {
            return self.start_engines().await;
        };
        let engines = self.plan.engines.iter_mut();
        let engines = engines.map(|planned| &mut planned.settings);
        // Boxed, so that the future of a lifespan function does not contain it: only tests use it.
        self.isolated = Some(Box::pin(Isolated::new(test, engines)).await?);
        let begun = self.start_test().await;
        if begun.is_err()
            && let Some(isolated) = self.isolated.take()
        {
            Box::pin(isolated.give_up()).await;
        }
        begun
    }

    /// Starts the engines of a test, and runs its fixture functions. When that fails, the engines are closed.
    async fn start_test(&mut self) -> Result<(), Error> {
        self.start_engines().await?;
        let seeded = Box::pin(self.seed()).await;
        if seeded.is_err() {
            self.close_all(&CancellationToken::new()).await;
        }
        seeded
    }

    /// Runs the fixture functions of a test.
    async fn seed(&self) -> Result<(), Error> {
        for (index, engine) in &self.started {
            testing::seed(&self.plan.engines[*index].settings, engine.as_ref()).await?;
        }
        Ok(())
    }

    /// Starts all engines concurrently. When one fails, the other starts are cancelled, and open pools are closed again.
    ///
    /// An engine is recorded here as soon as it is started, so that a start that is dropped half-way leaves none open.
    async fn start_engines(&mut self) -> Result<(), Error> {
        // If `main`'s engine was looked up before there was a runtime, it is in the scope of the process.
        let scopes = [self.scope, Scope::Process];
        let scopes = &scopes[..=usize::from(self.plan.for_process)];
        for planned in &self.plan.engines {
            let settings = &planned.settings;
            let build = || (planned.build)(Arc::clone(settings));
            let (engine, _) = finder::find_or_make(scopes, &settings.engine, build)?;
            self.begun.push(engine);
        }
        let mut starts = FuturesUnordered::new();
        for (index, planned) in self.plan.engines.iter().enumerate() {
            let engine = Arc::clone(&self.begun[index]);
            let settings = Arc::clone(&planned.settings);
            let base = planned.base;
            starts.push(async move { (index, engine.start_with(settings, base).await) });
        }
        let mut failure = None;
        while let Some((index, result)) = starts.next().await {
            match result {
                Ok(()) => {
                    let engine = Arc::clone(&self.begun[index]);
                    engine.drains_with(self.shutdown.of_engines());
                    if self.plan.for_process {
                        finder::publish(Arc::clone(&engine));
                    }
                    self.started.push((index, engine));
                }
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        drop(starts);
        self.started.sort_by_key(|(index, _)| *index);
        match failure {
            None => Ok(()),
            Some(error) => {
                self.close_all(&CancellationToken::new()).await;
                Err(error)
            }
        }
    }

    /// Closes the engines concurrently, and gives back a test's databases, which are kept when the body has failed. In `main`
    /// it also waits for commit hooks, before the closes, because they may use the engines, and for closes in the background,
    /// because the runtime ends with `main`.
    ///
    /// # Errors
    ///
    /// A test that rolls back has ended its transaction.
    pub(super) async fn close(
        mut self,
        force: &CancellationToken,
        failed: bool,
    ) -> Result<(), Error> {
        let mut for_hooks = self.plan.longest_close();
        if self.plan.for_process {
            let waited = force.run_until_cancelled(background::hooks_within(for_hooks));
            for_hooks = waited.await.unwrap_or_default();
        }
        self.close_all(force).await;
        let mut outcome = Ok(());
        if let Some(isolated) = self.isolated.take() {
            outcome = Box::pin(isolated.end(failed)).await;
        }
        if self.plan.for_process {
            let closed = background::wait_closed_within(for_hooks);
            match force.run_until_cancelled(closed).await {
                Some(Ok(())) => {}
                Some(Err(_)) => crate::logging::warn!(
                    "a future of `on_commit` does not end, and is dropped with the program"
                ),
                // The closes of runs that were dropped with the body end now too.
                None => Member::force_all().await,
            }
        }
        outcome
    }

    /// Closes all started engines concurrently, and waits for cancelled starts. No engine needs another one to close, and each
    /// has its `close_timeout` from the same moment on.
    async fn close_all(&mut self, force: &CancellationToken) {
        let started = mem::take(&mut self.started);
        let begun = mem::take(&mut self.begun);
        let draining = self.shutdown.of_engines();
        let closes = started.iter().map(async |(_, engine)| {
            // This future may be dropped during the close.
            let _drains = Drains { engine, draining };
            engine.close(force).await;
        });
        let settled = join_all(begun.iter().map(|engine| engine.settled()));
        let settled = force.run_until_cancelled(settled);
        futures_util::future::join(join_all(closes), settled).await;
        drop(started);
        self.forget(begun);
    }

    /// Makes the finder forget the engines that have no other handles.
    fn forget(&self, engines: Vec<Arc<dyn ErasedEngine>>) {
        for engine in engines {
            finder::forget(&[self.scope, Scope::Process], engine);
        }
    }

    /// The engine of a parameter.
    pub(super) fn engine<DB: Backend>(
        &self,
        settings: Option<&Settings>,
    ) -> Result<Engine<DB>, Error> {
        let name = self.plan.name_of(settings);
        let planned = self.plan.engines.iter().zip(&self.started);
        let mut planned = planned.filter(|(planned, _)| planned.settings.engine == name);
        match planned.next() {
            Some((_, (_, engine))) => finder::typed(engine.as_ref()),
            None => {
                unreachable!("every parameter has planned its engine, and all of them were started")
            }
        }
    }
}

/// Removes the draining token of a run from an engine when it is dropped.
struct Drains<'a> {
    engine: &'a Arc<dyn ErasedEngine>,
    draining: &'a Draining,
}

impl Drop for Drains<'_> {
    fn drop(&mut self) {
        self.engine.drains_no_more_with(self.draining);
    }
}

impl Drop for RunningEngines {
    /// Begins the closes when the run's future was dropped. Tasks complete them.
    fn drop(&mut self) {
        let mut closings = Vec::new();
        for (_, engine) in mem::take(&mut self.started) {
            closings.extend(engine.begin_close());
            engine.drains_no_more_with(self.shutdown.of_engines());
        }
        let begun = mem::take(&mut self.begun);
        let isolated = self.isolated.take();
        if begun.is_empty() {
            return;
        }
        let scope = self.scope;
        let force = Member::force();
        background::spawn(async move {
            join_all(closings.iter().map(|closing| closing.report(&force))).await;
            join_all(begun.iter().map(|engine| engine.settled())).await;
            for engine in begun {
                finder::forget(&[scope, Scope::Process], engine);
            }
            #[allow(
                clippy::drop_non_drop,
                reason = "without `testing` there is nothing to drop"
            )]
            drop(isolated);
        });
    }
}
