//! One use of `#[with_pool]`: the attribute's arguments, and the positions that it can stand in.

use std::future::Future;
use std::io;
use std::panic::resume_unwind;
use std::process;

use futures_util::future::LocalBoxFuture;
use tokio::runtime::{Builder, Runtime};

use super::command::Command;
use super::outcome::Outcome;
use super::parameter::Parameters;
use super::plan::{Listening, Plan};
use super::run::{Ended, run};
use crate::error::{Error, UsageError};
use crate::logging;
use crate::settings::{ProgramSettings, RuntimeFlavor, Settings};
use crate::testing::Test;

/// What the attribute expands to: its arguments, then one of [`block_on`](Self::block_on), [`main`](Self::main),
/// [`lifespan`](Self::lifespan), [`test`](Self::test) and [`block_on_test`](Self::block_on_test).
///
/// `R` is the function's return type. The [`Outcome`] bound is checked only here, so that a wrong return type gives one error.
#[derive(Debug)]
pub struct Attribute<R> {
    application: &'static str,
    settings: Settings,
    beside_server: bool,
    of_error: fn(Error) -> Result<R, Error>,
    of_test_error: fn(Error) -> Result<R, Error>,
    is_failure: fn(&R) -> bool,
    without_panic: fn() -> Option<R>,
}

impl<R: Outcome> Attribute<R> {
    /// The attribute of a function in the crate `application`.
    pub fn new(application: &'static str, settings: Settings) -> Self {
        Self {
            application,
            settings,
            beside_server: false,
            of_error: R::of_error,
            of_test_error: R::of_test_error,
            is_failure: R::is_failure,
            without_panic: R::without_panic,
        }
    }
}

impl<R> Attribute<R> {
    /// For the runtime attribute of a framework whose servers listen for signals themselves. A signal does not drop a body
    /// without `Shutdown`, because its server answers open requests first.
    #[must_use]
    pub fn beside_server(self) -> Self {
        Self {
            beside_server: true,
            ..self
        }
    }

    /// Runs the body of a `main` without a runtime of its own.
    pub fn block_on<P, F, Fut>(self, parameters: P, body: F) -> R
    where
        P: Parameters,
        F: FnOnce(P::Filled) -> Fut,
        Fut: Future<Output = R>,
    {
        let (of_error, is_failure) = (self.of_error, self.is_failure);
        if let Some(command) = Command::of_environment() {
            let run = command.run(|| self.plan(true), &parameters);
            let runtime = Builder::new_current_thread().enable_all().build();
            match runtime {
                // Before the runtime's drop, which may wait.
                Ok(runtime) => process::exit(runtime.block_on(run)),
                Err(error) => return end_main(&no_runtime(&error)),
            }
        }
        let ended = self.plan(true).and_then(|plan| {
            let runtime = runtime(&plan.program)?;
            let ended = runtime.block_on(run(plan, parameters, body, is_failure));
            if let Ok(Ended::Interrupted(interrupted)) = &ended {
                // Here, because the runtime's drop waits for blocking tasks without a limit.
                process::exit(interrupted.exit_code());
            }
            ended
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
        if let Some(command) = Command::of_environment() {
            // Boxed, so that a `main` that runs its body does not contain it.
            let run = Box::pin(command.run(|| self.plan(true), &parameters));
            process::exit(run.await);
        }
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
        conclude(ended, of_error, |error| panic!("{error:?}"))
    }

    /// Runs the body of a test inside the runtime that its test attribute gives it.
    pub async fn test<'a, P, F, Fut>(self, test: Test, parameters: P, body: F) -> R
    where
        P: Parameters,
        F: FnOnce(P::Filled) -> Fut + 'a,
        Fut: Future<Output = R> + 'a,
    {
        let (of_error, is_failure) = (self.of_test_error, self.is_failure);
        let without_panic = self.without_panic_of(&test);
        let body: Body<'a, P, R> = Box::new(|filled| Box::pin(body(filled)));
        let ended = match self.plan_of(test) {
            Ok(plan) => run_test(plan, parameters, body, is_failure).await,
            Err(error) => Err(error),
        };
        conclude(ended, of_error, |error| end_test(error, without_panic))
    }

    /// Runs the body of a test without a runtime of its own.
    pub fn block_on_test<'a, P, F, Fut>(self, test: Test, parameters: P, body: F) -> R
    where
        P: Parameters,
        F: FnOnce(P::Filled) -> Fut + 'a,
        Fut: Future<Output = R> + 'a,
    {
        let (of_error, is_failure) = (self.of_test_error, self.is_failure);
        let without_panic = self.without_panic_of(&test);
        let body: Body<'a, P, R> = Box::new(|filled| Box::pin(body(filled)));
        let ended = self.plan_of(test).and_then(|plan| {
            let runtime = runtime(&plan.program)?;
            runtime.block_on(run_test(plan, parameters, body, is_failure))
        });
        conclude(ended, of_error, |error| end_test(error, without_panic))
    }

    async fn run<P, F, Fut>(self, is_main: bool, parameters: P, body: F) -> Result<Ended<R>, Error>
    where
        P: Parameters,
        F: FnOnce(P::Filled) -> Fut,
        Fut: Future<Output = R>,
    {
        let is_failure = self.is_failure;
        let plan = self.plan(is_main)?;
        // Boxed, so that the caller's future does not contain a whole start and close.
        Box::pin(run(plan, parameters, body, is_failure)).await
    }

    fn plan(self, is_main: bool) -> Result<Box<Plan>, Error> {
        let listening = match (is_main, self.beside_server) {
            (false, _) => Listening::Never,
            (true, false) => Listening::Always,
            (true, true) => Listening::WithShutdown,
        };
        Plan::new(self.application, self.settings, is_main, listening)
    }

    /// The value that fails a test which passes with any panic.
    fn without_panic_of(&self, test: &Test) -> Option<R> {
        let value = test.passes_with_any_panic().then(self.without_panic);
        value.flatten()
    }

    fn plan_of(self, test: Test) -> Result<Box<Plan>, Error> {
        Plan::of_test(self.application, self.settings, test)
    }
}

/// The body of a test, without its type. It is not spawned, so it need not be `Send`.
type Body<'a, P, R> = Box<dyn FnOnce(<P as Parameters>::Filled) -> LocalBoxFuture<'a, R> + 'a>;

/// Runs a test. It is compiled once for each kind of parameters and return type, and not for each of the tests, of which a
/// crate may have thousands.
async fn run_test<P: Parameters, R>(
    plan: Box<Plan>,
    parameters: P,
    body: Body<'_, P, R>,
    is_failure: fn(&R) -> bool,
) -> Result<Ended<R>, Error> {
    run(plan, parameters, body, is_failure).await
}

/// Returns or re-raises the outcome of the run. `without_value` handles an error that `R` cannot carry.
fn conclude<R>(
    ended: Result<Ended<R>, Error>,
    of_error: fn(Error) -> Result<R, Error>,
    without_value: impl FnOnce(&Error) -> R,
) -> R {
    match ended {
        Ok(Ended::Returned(value)) => value,
        Ok(Ended::Panicked(payload)) => resume_unwind(payload),
        Ok(Ended::Interrupted(interrupted)) => process::exit(interrupted.exit_code()),
        Err(error) => of_error(error).unwrap_or_else(|error| without_value(&error)),
    }
}

/// Ends a test that cannot return the error: by a panic, or with the value that fails it.
fn end_test<R>(error: &Error, without_panic: Option<R>) -> R {
    let Some(value) = without_panic else {
        panic!("{error:?}")
    };
    // Not `logging::print`, whose lines the test's harness does not capture.
    eprintln!("Error: {error:?}");
    value
}

/// Ends a program whose `main` cannot return the error.
fn end_main<R>(error: &Error) -> R {
    logging::print(format_args!("Error: {error:?}"));
    process::exit(1)
}

/// The runtime that `flavor` and `worker_threads` ask for.
fn runtime(program: &ProgramSettings) -> Result<Runtime, Error> {
    let mut builder = match program.flavor {
        RuntimeFlavor::MultiThread => Builder::new_multi_thread(),
        RuntimeFlavor::CurrentThread => Builder::new_current_thread(),
    };
    if let Some(threads) = program.worker_threads {
        builder.worker_threads(threads.get());
    }
    builder
        .enable_all()
        .build()
        .map_err(|error| no_runtime(&error))
}

fn no_runtime(error: &io::Error) -> Error {
    UsageError::Runtime {
        reason: error.to_string(),
    }
    .into()
}
