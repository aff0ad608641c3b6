//! One use of `#[with_pool]`: the attribute's arguments, and the three positions that it can stand in.

use std::future::Future;
use std::panic::resume_unwind;
use std::process;

use tokio::runtime::{Builder, Runtime};

use super::outcome::Outcome;
use super::parameter::Parameters;
use super::plan::Plan;
use super::{Ended, run};
use crate::error::{Error, UsageError};
use crate::settings::{self, Flavor, ProgramSettings, Settings};

/// What the attribute expands to: its arguments, then one of [`block_on`](Self::block_on), [`main`](Self::main) and
/// [`lifespan`](Self::lifespan).
///
/// `R` is what the function returns. That it is an [`Outcome`] is asked here and nowhere behind, so that a return type
/// that is none is reported once.
#[derive(Debug)]
pub struct Attribute<R> {
    application: &'static str,
    settings: Settings,
    of_error: fn(Error) -> Result<R, Error>,
}

impl<R: Outcome> Attribute<R> {
    /// The attribute of a function in the crate `application`.
    pub fn new(application: &'static str, settings: Settings) -> Self {
        Self {
            application,
            settings,
            of_error: R::of_error,
        }
    }
}

impl<R> Attribute<R> {
    /// Runs the body of a `main` without a runtime of its own.
    pub fn block_on<P, F, Fut>(self, parameters: P, body: F) -> R
    where
        P: Parameters,
        F: FnOnce(P::Filled) -> Fut,
        Fut: Future<Output = R>,
    {
        let of_error = self.of_error;
        let ended = self.program().and_then(|program| {
            let runtime = runtime(&program)?;
            let plan = self.plan(program, true);
            runtime.block_on(run(plan, parameters, body))
        });
        conclude(ended, of_error, end_main)
    }

    /// Runs the body of a `main` inside the runtime that another attribute gives it.
    pub async fn main<P, F, Fut>(self, parameters: P, body: F) -> R
    where
        P: Parameters,
        F: FnOnce(P::Filled) -> Fut,
        Fut: Future<Output = R>,
    {
        let of_error = self.of_error;
        conclude(self.run(true, parameters, body).await, of_error, end_main)
    }

    /// Runs the body of any other async function.
    pub async fn lifespan<P, F, Fut>(self, parameters: P, body: F) -> R
    where
        P: Parameters,
        F: FnOnce(P::Filled) -> Fut,
        Fut: Future<Output = R>,
    {
        let of_error = self.of_error;
        let ended = self.run(false, parameters, body).await;
        conclude(ended, of_error, |error| panic!("{error}"))
    }

    async fn run<P, F, Fut>(self, is_main: bool, parameters: P, body: F) -> Result<Ended<R>, Error>
    where
        P: Parameters,
        F: FnOnce(P::Filled) -> Fut,
        Fut: Future<Output = R>,
    {
        let program = self.program()?;
        run(self.plan(program, is_main), parameters, body).await
    }

    fn program(&self) -> Result<ProgramSettings, Error> {
        Ok(settings::resolve_program(&self.settings)?)
    }

    fn plan(self, program: ProgramSettings, is_main: bool) -> Plan {
        Plan::new(self.application, self.settings, program, is_main)
    }
}

/// Returns or re-raises what the run came to. `without_value` ends what cannot carry an error.
fn conclude<R>(
    ended: Result<Ended<R>, Error>,
    of_error: fn(Error) -> Result<R, Error>,
    without_value: fn(&Error) -> R,
) -> R {
    match ended {
        Ok(Ended::Returned(value)) => value,
        Ok(Ended::Panicked(payload)) => resume_unwind(payload),
        Ok(Ended::Interrupted(interrupted)) => process::exit(interrupted.exit_code()),
        Err(error) => of_error(error).unwrap_or_else(|error| without_value(&error)),
    }
}

/// Ends a program whose `main` cannot return the error.
fn end_main<R>(error: &Error) -> R {
    eprintln!("Error: {error}");
    process::exit(1)
}

/// The runtime that `flavor` and `worker_threads` ask for.
fn runtime(program: &ProgramSettings) -> Result<Runtime, Error> {
    let mut builder = match program.flavor {
        Flavor::MultiThread => Builder::new_multi_thread(),
        Flavor::CurrentThread => Builder::new_current_thread(),
    };
    if let Some(threads) = program.worker_threads {
        builder.worker_threads(threads.get());
    }
    builder.enable_all().build().map_err(|error| {
        UsageError::Runtime {
            reason: error.to_string(),
        }
        .into()
    })
}
