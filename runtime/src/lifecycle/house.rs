//! The started engines of one run.

use std::mem;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use super::Parameters;
use super::plan::Plan;
use super::shutdown::Shutdown;
use super::signals::Signals;
use crate::backend::Backend;
use crate::background;
use crate::engine::{Engine, ErasedEngine};
use crate::error::Error;
use crate::finder::{self, Scope};
use crate::settings::Settings;
use crate::testing::{self, Isolated};

/// The engines of one run, from look-up to close.
///
/// A house that is dropped while its engines are started, because the run's future was dropped, closes them in a task.
pub struct House {
    pub(super) plan: Box<Plan>,
    pub(super) shutdown: Shutdown,
    /// Each with its place in the plan, in whose order they are once all are started; closed in reverse.
    started: Started,
    /// The databases of a test.
    isolated: Option<Isolated>,
}

type Started = Vec<(usize, Arc<dyn ErasedEngine>)>;

impl House {
    /// Finds out what is to be started. Nothing is opened yet.
    pub(super) fn look_up<P: Parameters>(
        mut plan: Box<Plan>,
        parameters: &P,
    ) -> Result<Self, Error> {
        parameters.plan(&mut plan)?;
        plan.or_attribute_engine()?;
        Ok(Self {
            plan,
            shutdown: Shutdown::new(),
            started: Vec::new(),
            isolated: None,
        })
    }

    /// Starts every engine, in a test on a database of its own.
    pub(super) async fn start(&mut self) -> Result<(), Error> {
        let Some(test) = &self.plan.test else {
            return self.start_engines().await;
        };
        let engines = self.plan.engines.iter_mut();
        let engines = engines.map(|planned| &mut planned.settings);
        // Boxed, because every lifespan function would carry it, and only tests have it.
        self.isolated = Some(Box::pin(Isolated::new(test, engines)).await?);
        self.start_engines().await?;
        let seeded = Box::pin(self.seed()).await;
        if seeded.is_err() {
            close_all(mem::take(&mut self.started), &CancellationToken::new()).await;
        }
        seeded
    }

    /// Runs the fixture functions of a test.
    async fn seed(&self) -> Result<(), Error> {
        for (place, engine) in &self.started {
            testing::seed(&self.plan.engines[*place].settings, engine.as_ref()).await?;
        }
        Ok(())
    }

    /// Starts every engine, side by side. When one fails, the others are closed again.
    ///
    /// An engine belongs to the house from the moment that it is started, so that a start which is dropped half-way leaves
    /// none behind.
    async fn start_engines(&mut self) -> Result<(), Error> {
        let mut engines = Vec::with_capacity(self.plan.engines.len());
        let mut starts = FuturesUnordered::new();
        for (place, planned) in self.plan.engines.iter().enumerate() {
            let settings = Arc::clone(&planned.settings);
            let engine = finder::find_here_or_build(&settings, planned.build)?;
            engines.push(Arc::clone(&engine));
            starts.push(async move { (place, engine.start_with(settings, planned.base).await) });
        }
        let mut failure = None;
        while let Some((place, result)) = starts.next().await {
            let engine = Arc::clone(&engines[place]);
            match result {
                Ok(()) => {
                    if self.plan.for_process {
                        finder::put(Scope::Process, Arc::clone(&engine));
                    }
                    self.started.push((place, engine));
                }
                Err(error) => {
                    finder::forget(Scope::current(), &engine);
                    failure = failure.or(Some(error));
                }
            }
        }
        drop(starts);
        self.started.sort_by_key(|(place, _)| *place);
        match failure {
            None => Ok(()),
            Some(error) => {
                close_all(mem::take(&mut self.started), &CancellationToken::new()).await;
                Err(error)
            }
        }
    }

    /// Closes the engines, the last started first, and gives back what a test had; it is kept when the body has failed.
    /// The end of `main` is the end of the runtime, so there what goes on in the background is waited for as well.
    ///
    /// # Errors
    ///
    /// A test that rolls back has ended its transaction.
    pub(super) async fn close(mut self, signals: &Signals, failed: bool) -> Result<(), Error> {
        close_all(mem::take(&mut self.started), signals.hurry()).await;
        let mut outcome = Ok(());
        if let Some(isolated) = self.isolated.take() {
            outcome = Box::pin(isolated.end(failed)).await;
        }
        if self.plan.for_process {
            tokio::select! {
                () = background::closed() => {}
                () = signals.hurry().cancelled() => {}
            }
        }
        outcome
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
            Some((planned, (_, engine))) => {
                finder::typed(engine.as_ref(), || Ok(Arc::clone(&planned.settings)))
            }
            None => {
                unreachable!("every parameter has planned its engine, and all of them were started")
            }
        }
    }
}

async fn close_all(mut engines: Started, hurry: &CancellationToken) {
    while let Some((_, engine)) = engines.pop() {
        let report = engine.close(hurry).await;
        // Shared with an outer owner, it stays known.
        if report.left.is_none() {
            finder::forget(Scope::current(), &engine);
            finder::forget(Scope::Process, &engine);
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let engines = mem::take(&mut self.started);
        let isolated = self.isolated.take();
        if engines.is_empty() {
            return;
        }
        background::spawn(async move {
            close_all(engines, &CancellationToken::new()).await;
            drop(isolated);
        });
    }
}
