//! Fixture functions, which fill the database of one test through the test's engine.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures_core::future::BoxFuture;

use crate::backend::Backend;
use crate::engine::{Engine, ErasedEngine};
use crate::error::{Error, TestError, TestKind};
use crate::settings::{EngineSettings, Settings};

/// A fixture function; returns `None` for an engine of another kind.
type FixtureFunction =
    Box<dyn Fn(&dyn ErasedEngine) -> Option<BoxFuture<'static, Result<(), String>>> + Send + Sync>;

/// The return types of fixture functions: `()`, or a `Result` whose error is `Display`.
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
        // `{:#}` includes the causes of an `anyhow::Error`.
        self.map_err(|error| format!("{error:#}"))
    }
}

impl Settings {
    /// Adds an async fixture function, such as `async fn bands(db: PgEngine)`, with or without a `Result`.
    #[doc(hidden)]
    #[track_caller]
    #[must_use]
    pub fn fixture_fn<DB, F, Fut>(self, name: &'static str, fill: F) -> Self
    where
        DB: Backend,
        F: Fn(Engine<DB>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: Seeded> + Send + 'static,
    {
        let fill: FixtureFunction = Box::new(move |engine| {
            let engine = engine.as_any().downcast_ref::<Engine<DB>>()?.clone();
            let filling = fill(engine);
            Some(Box::pin(async move { filling.await.outcome() }))
        });
        self.fixture_function(name, Arc::new(fill))
    }
}

/// Runs the fixture functions of one engine of a test.
pub(crate) async fn seed(
    settings: &EngineSettings,
    engine: &dyn ErasedEngine,
) -> Result<(), Error> {
    for (name, fill) in settings.fixtures.functions() {
        let filling = fill
            .downcast_ref::<FixtureFunction>()
            .and_then(|fill| fill(engine));
        let outcome = match filling {
            Some(filling) => filling.await,
            None => Err(format!(
                "it fills another kind of database than {}",
                engine.kind()
            )),
        };
        if let Err(reason) = outcome {
            let what = format!("the fixture `{name}` failed: {reason}");
            return Err(
                TestError::new(settings, TestKind::Fixture, what, "Correct the function").into(),
            );
        }
    }
    Ok(())
}
