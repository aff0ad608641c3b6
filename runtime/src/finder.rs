//! The engine finder: from a name to an engine.
//!
//! One tokio runtime is one *scope*. Code that asks for an engine gets the one of its own runtime, so that tests that run
//! side by side never meet; then the one that the program's `main` has put up for the whole process, which is what a
//! worker thread with a runtime of its own wants; and else a new one from the configuration, not started.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use once_cell::sync::Lazy;
use tokio::runtime::{Handle, Id};

use crate::backend::Backend;
use crate::engine::{Engine, ErasedEngine};
use crate::error::{Error, StartError};
use crate::settings::{self, EngineSettings, Settings};

/// Where an engine is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// In one runtime.
    Runtime(Id),
    /// Everywhere where the runtime's own scope does not know the name.
    Process,
}

impl Scope {
    /// The scope of the code that runs now.
    pub(crate) fn current() -> Self {
        Handle::try_current().map_or(Self::Process, |runtime| Self::Runtime(runtime.id()))
    }
}

type Engines = HashMap<(Scope, String), Arc<dyn ErasedEngine>>;

static ENGINES: Lazy<Mutex<Engines>> = Lazy::new(Mutex::default);

fn engines() -> MutexGuard<'static, Engines> {
    // Nothing panics while the lock is held.
    ENGINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Finds the engine `default`.
///
/// It looks in this runtime, then in the process, and else builds the engine from `poolhouse.toml` and the environment,
/// not started, and keeps it for the next call.
///
/// # Errors
///
/// [`Error::Settings`] when nothing configures the engine, and [`Error::Start`] when it is of another kind than `DB`.
#[track_caller]
pub fn engine_finder<DB: Backend>() -> Result<Engine<DB>, Error> {
    engine_finder_with(&Settings::new())
}

/// Finds the engine that the settings name.
///
/// As long as its pool is not started, the engine takes on the settings that are given here, so that the last call before
/// the start has the last word. Settings that give no more than a name, and those for a started pool, change nothing.
///
/// # Errors
///
/// As [`engine_finder`].
#[track_caller]
pub fn engine_finder_with<DB: Backend>(settings: &Settings) -> Result<Engine<DB>, Error> {
    let name = settings.engine_name();
    if let Some(engine) = find(&name) {
        let engine: Engine<DB> = typed(engine.as_ref(), || {
            Ok(Arc::new(settings::resolve(settings)?))
        })?;
        if !settings.only_name() && !engine.is_started() {
            engine.configure(settings::resolve(settings)?)?;
        }
        return Ok(engine);
    }
    let engine = Engine::<DB>::new(settings::resolve(settings)?)?;
    put(Scope::current(), Arc::new(engine.clone()));
    Ok(engine)
}

/// The engine of this name where the current code looks.
fn find(name: &str) -> Option<Arc<dyn ErasedEngine>> {
    let engines = engines();
    [Scope::current(), Scope::Process]
        .into_iter()
        .find_map(|scope| engines.get(&(scope, name.to_owned())).cloned())
}

/// The engine of this name that is known to the current runtime, in this scope or to the process. Never a new one.
///
/// # Errors
///
/// It is of another kind than `DB`.
#[cfg(feature = "web")]
pub(crate) fn find_known<DB: Backend>(
    name: &str,
    home: Option<Scope>,
) -> Result<Option<Engine<DB>>, Error> {
    let scopes = [Some(Scope::current()), home, Some(Scope::Process)];
    let known = {
        let engines = engines();
        let mut known = scopes
            .into_iter()
            .flatten()
            .filter_map(|scope| engines.get(&(scope, name.to_owned())));
        known.next().cloned()
    };
    known
        .map(|engine| {
            typed(engine.as_ref(), || {
                Ok(Arc::new(settings::resolve(&Settings::new().engine(name))?))
            })
        })
        .transpose()
}

/// The engine of the current runtime alone, or a new one there.
pub(crate) fn find_here_or_build(
    settings: &Arc<EngineSettings>,
    build: impl FnOnce(Arc<EngineSettings>) -> Result<Arc<dyn ErasedEngine>, Error>,
) -> Result<Arc<dyn ErasedEngine>, Error> {
    let scope = Scope::current();
    if let Some(engine) = engines().get(&(scope, settings.engine.clone())) {
        return Ok(Arc::clone(engine));
    }
    let engine = build(Arc::clone(settings))?;
    put(scope, Arc::clone(&engine));
    Ok(engine)
}

/// Makes an engine known.
pub(crate) fn put(scope: Scope, engine: Arc<dyn ErasedEngine>) {
    engines().insert((scope, engine.name().to_owned()), engine);
}

/// Forgets an engine, if it is still this one.
pub(crate) fn forget(scope: Scope, engine: &Arc<dyn ErasedEngine>) {
    let mut engines = engines();
    let key = (scope, engine.name().to_owned());
    if engines
        .get(&key)
        .is_some_and(|known| Arc::ptr_eq(known, engine))
    {
        engines.remove(&key);
    }
}

/// The engine with its type.
pub(crate) fn typed<DB: Backend>(
    engine: &dyn ErasedEngine,
    settings: impl FnOnce() -> Result<Arc<EngineSettings>, crate::SettingsError>,
) -> Result<Engine<DB>, Error> {
    match engine.as_any().downcast_ref::<Engine<DB>>() {
        Some(engine) => Ok(engine.clone()),
        None => Err(StartError::wrong_kind(settings()?.as_ref(), engine.kind(), DB::KIND).into()),
    }
}
