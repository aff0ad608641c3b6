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

/// The engines of one run, from look-up to close.
///
/// A house that is dropped while its engines are started, because the run's future was dropped, closes them in a task.
pub struct House {
    pub(super) plan: Plan,
    pub(super) shutdown: Shutdown,
    /// Each with its place in the plan, in whose order they are once all are started; closed in reverse.
    started: Started,
}

type Started = Vec<(usize, Arc<dyn ErasedEngine>)>;

impl House {
    /// Finds out what is to be started. Nothing is opened yet.
    pub(super) fn look_up<P: Parameters>(mut plan: Plan, parameters: &P) -> Result<Self, Error> {
        parameters.plan(&mut plan)?;
        plan.or_attribute_engine()?;
        Ok(Self {
            plan,
            shutdown: Shutdown::new(),
            started: Vec::new(),
        })
    }

    /// Starts every engine, side by side. When one fails, the others are closed again.
    ///
    /// An engine belongs to the house from the moment that it is started, so that a start which is dropped half-way leaves
    /// none behind.
    pub(super) async fn start(&mut self) -> Result<(), Error> {
        let mut engines = Vec::with_capacity(self.plan.engines.len());
        for planned in &self.plan.engines {
            engines.push(finder::find_here_or_build(
                &planned.settings,
                planned.build,
            )?);
        }
        let starts = self.plan.engines.iter().zip(&engines).enumerate();
        let mut starts: FuturesUnordered<_> = starts
            .map(|(place, (planned, engine))| async move {
                let start = engine.start_with(planned.settings.clone(), planned.base);
                (place, start.await)
            })
            .collect();
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

    /// Closes the engines, the last started first. The end of `main` is the end of the runtime, so there what goes on in
    /// the background is waited for as well.
    pub(super) async fn close(mut self, signals: &Signals) {
        close_all(mem::take(&mut self.started), signals.hurry()).await;
        if self.plan.for_process {
            tokio::select! {
                () = background::closed() => {}
                () = signals.hurry().cancelled() => {}
            }
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
            Some((planned, (_, engine))) => {
                finder::typed(engine.as_ref(), || Ok(planned.settings.clone()))
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
        if engines.is_empty() {
            return;
        }
        background::spawn(async move { close_all(engines, &CancellationToken::new()).await });
    }
}
