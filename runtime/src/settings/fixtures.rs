//! Fixtures: what a test's database holds besides what the migrations put there.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures_core::future::BoxFuture;

use crate::backend::Backend;
use crate::engine::{Engine, ErasedEngine};

/// The fixtures of one engine, in the order in which they were given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fixtures(Vec<Fixture>);

/// One fixture.
#[derive(Clone)]
pub(crate) enum Fixture {
    /// SQL, known when the program was compiled, so that it can be part of a template.
    Script {
        name: &'static str,
        sql: &'static str,
    },
    /// A function, which is run for each test: nobody can tell whether it would do the same twice.
    Function { name: &'static str, fill: Fill },
}

type Fill =
    Arc<dyn Fn(&dyn ErasedEngine) -> Option<BoxFuture<'static, Result<(), String>>> + Send + Sync>;

/// What a fixture function may return: `()`, or a `Result` whose error can be shown.
#[diagnostic::on_unimplemented(
    message = "a fixture function cannot return `{Self}`",
    note = "return `()` or `Result<(), E>` where `E` implements `Display`"
)]
pub trait Seeded {
    /// The error as text.
    #[doc(hidden)]
    fn outcome(self) -> Result<(), String>;
}

impl Seeded for () {
    fn outcome(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: fmt::Display> Seeded for Result<(), E> {
    fn outcome(self) -> Result<(), String> {
        // The causes of an `anyhow::Error` show in this form.
        self.map_err(|error| format!("{error:#}"))
    }
}

impl Fixture {
    pub(super) fn function<DB, F, Fut>(name: &'static str, fill: F) -> Self
    where
        DB: Backend,
        F: Fn(Engine<DB>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: Seeded> + Send + 'static,
    {
        let fill: Fill = Arc::new(move |engine: &dyn ErasedEngine| {
            let engine = engine.as_any().downcast_ref::<Engine<DB>>()?.clone();
            let filling = fill(engine);
            Some(Box::pin(async move { filling.await.outcome() }))
        });
        Self::Function { name, fill }
    }
}

impl Fixtures {
    pub(super) fn add(&mut self, fixture: Fixture) {
        self.0.push(fixture);
    }

    /// Names and contents of the scripts.
    pub(crate) fn scripts(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.0.iter().filter_map(|fixture| match fixture {
            Fixture::Script { name, sql } => Some((*name, *sql)),
            Fixture::Function { .. } => None,
        })
    }

    /// Runs the functions on the engine of one test.
    ///
    /// # Errors
    ///
    /// The name of the function that failed, and why.
    pub(crate) async fn run_functions(
        &self,
        engine: &dyn ErasedEngine,
    ) -> Result<(), (&'static str, String)> {
        for fixture in &self.0 {
            if let Fixture::Function { name, fill } = fixture {
                let outcome = match fill(engine) {
                    Some(filling) => filling.await,
                    None => Err(format!(
                        "it fills another kind of database than {}",
                        engine.kind()
                    )),
                };
                outcome.map_err(|reason| (*name, reason))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Fixtures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let names: Vec<&str> = self.0.iter().map(Fixture::name).collect();
        f.write_str(&names.join(", "))
    }
}

impl Fixture {
    fn name(&self) -> &'static str {
        match self {
            Self::Script { name, .. } | Self::Function { name, .. } => name,
        }
    }
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
