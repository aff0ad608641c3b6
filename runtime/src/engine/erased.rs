//! An engine without its database type, as the finder keeps it and the lifecycle starts and closes it.

use std::any::Any;
use std::sync::Arc;

use futures_core::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::close::CloseBegin;
use super::operate::{EngineReport, Operation, Progress, operate};
use super::phase::Closing;
use super::{Base, Draining, Engine, Readiness};
use crate::backend::{self, Backend};
use crate::error::Error;
use crate::pool::{CloseReport, Holder};
use crate::settings::EngineSettings;

/// An [`Engine`] without its database type.
pub(crate) trait ErasedEngine: Send + Sync {
    fn name(&self) -> &str;
    /// The kind by type: `Postgres`, `Any`.
    fn kind(&self) -> &'static str;
    /// Those of the start, or of the last look-up before it.
    fn settings(&self) -> Arc<EngineSettings>;
    fn start_with(
        &self,
        settings: Arc<EngineSettings>,
        base: Base,
    ) -> BoxFuture<'_, Result<(), Error>>;
    /// Closes the pool if the caller is its last owner. `force` ends the wait for connections in use.
    fn close<'a>(&'a self, force: &'a CancellationToken) -> BoxFuture<'a, CloseReport>;
    /// Takes the first step of a close without waiting. A task does the rest, if the pool is closed.
    fn begin_close(&self) -> Option<Arc<Closing>>;
    /// Waits until no cancelled start and no close is under way.
    fn settled(&self) -> BoxFuture<'_, ()>;
    fn readiness(&self) -> Readiness;
    /// Adds the draining token of a run that has started the engine.
    fn drains_with(&self, draining: &Draining);
    /// Removes that token.
    fn drains_no_more_with(&self, draining: &Draining);
    /// Whether the pool is neither started nor being started or closed.
    fn is_idle(&self) -> bool;
    /// The number of handles on the engine. Clones of this `Arc` count as one.
    fn handles(&self) -> usize;
    /// Runs a script. Its error has the failed line, if the server reports it.
    #[cfg_attr(
        not(feature = "testing"),
        allow(dead_code, reason = "tests alone use it")
    )]
    fn run_script(&self, sql: &'static str) -> BoxFuture<'_, Result<(), ScriptError>>;
    /// Runs an operation with these settings. The engine itself is neither started nor changed.
    fn operate<'a>(
        &self,
        operation: Operation,
        settings: &'a Arc<EngineSettings>,
        base: Base,
        progress: &'a Progress<'a>,
    ) -> BoxFuture<'a, EngineReport>;
    fn as_any(&self) -> &dyn Any;
}

/// The failed line of a script, if the server reports it, and the error.
#[cfg_attr(
    not(feature = "testing"),
    allow(dead_code, reason = "tests alone use it")
)]
pub(crate) type ScriptError = (Option<usize>, Error);

impl<DB: Backend> ErasedEngine for Engine<DB> {
    fn name(&self) -> &str {
        Engine::name(self)
    }

    fn kind(&self) -> &'static str {
        DB::KIND
    }

    fn settings(&self) -> Arc<EngineSettings> {
        Arc::clone(&self.connector().settings)
    }

    fn start_with(
        &self,
        settings: Arc<EngineSettings>,
        base: Base,
    ) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(Engine::start_with(self, settings, base))
    }

    fn close<'a>(&'a self, force: &'a CancellationToken) -> BoxFuture<'a, CloseReport> {
        Box::pin(self.close_forced_by(force))
    }

    fn begin_close(&self) -> Option<Arc<Closing>> {
        match Engine::begin_close(self) {
            CloseBegin::Closes(closing) => Some(closing),
            CloseBegin::Left(_) | CloseBegin::CancelsStart(_) => None,
        }
    }

    fn settled(&self) -> BoxFuture<'_, ()> {
        Box::pin(Engine::settled(self))
    }

    fn readiness(&self) -> Readiness {
        Engine::readiness(self)
    }

    fn drains_with(&self, draining: &Draining) {
        Engine::drains_with(self, draining);
    }

    fn drains_no_more_with(&self, draining: &Draining) {
        Engine::drains_no_more_with(self, draining);
    }

    fn is_idle(&self) -> bool {
        Engine::is_idle(self)
    }

    fn handles(&self) -> usize {
        Engine::handles(self)
    }

    fn run_script(&self, sql: &'static str) -> BoxFuture<'_, Result<(), ScriptError>> {
        Box::pin(async move {
            let checkout = self.checkout(Holder::Engine).await;
            let mut checkout = checkout.map_err(|error| (None, error.into()))?;
            let run = checkout.run(|connection, _| DB::execute(connection, sqlx::raw_sql(sql)));
            match run.await {
                Ok(_) => Ok(()),
                Err(error) => Err((backend::error_line::<DB>(&error, sql), error.into())),
            }
        })
    }

    fn operate<'a>(
        &self,
        operation: Operation,
        settings: &'a Arc<EngineSettings>,
        base: Base,
        progress: &'a Progress<'a>,
    ) -> BoxFuture<'a, EngineReport> {
        operate::<DB>(operation, settings, base, progress)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A new engine of this database, without its type.
pub(crate) fn erased<DB: Backend>(
    settings: Arc<EngineSettings>,
) -> Result<Arc<dyn ErasedEngine>, Error> {
    Ok(Arc::new(Engine::<DB>::new(settings)?))
}
