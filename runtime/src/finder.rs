//! The engine finder: from a name to the one engine of that name.
//!
//! One tokio runtime is one *scope*. A look-up begins with the scope of the current runtime, so that concurrent tests share no
//! engine. Then it takes the engine that the program's `main` has published for the whole process, for example in a worker
//! thread with a runtime of its own. Otherwise it makes a new engine from the configuration, not started.
//!
//! # One engine per name and scope
//!
//! - An engine is made outside the lock, because making one runs code of the program (`connect_with`), and is registered under
//!   the lock if there still is none. Of two that are made at the same moment one is dropped, and both callers get the other.
//! - An engine is forgotten only when the finder has its only handle and its pool is not started, so that no task holds an
//!   engine while a second one of that name is made.
//! - The engines of a runtime are forgotten when the runtime ends.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use tokio::runtime::{Handle, Id};

use crate::backend::Backend;
use crate::background::{self, AtRuntimeEnd};
use crate::engine::{Engine, ErasedEngine, Readiness};
use crate::error::{Error, StartError};
use crate::lock::lock;
use crate::settings::{self, Settings};

/// Where an engine is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// In one runtime.
    Runtime(Id),
    /// In every runtime whose own scope does not know the name.
    Process,
}

impl Scope {
    /// The scope of the code that runs now.
    pub(crate) fn current() -> Self {
        Handle::try_current().map_or(Self::Process, |runtime| Self::Runtime(runtime.id()))
    }
}

/// The engines of one scope.
#[derive(Default)]
struct Known {
    engines: HashMap<String, EngineEntry>,
    /// Forgets them when their runtime ends; `None` for those of the process.
    _at_end: Option<AtRuntimeEnd>,
}

struct EngineEntry {
    engine: Arc<dyn ErasedEngine>,
    /// Whether to forget it once the finder has its only handle.
    released: bool,
}

impl EngineEntry {
    /// Whether only `entries` entries of the finder hold the engine, and its pool is not started.
    fn is_unused(&self, entries: usize) -> bool {
        Arc::strong_count(&self.engine) <= entries
            && self.engine.handles() <= 1
            && self.engine.is_idle()
    }
}

type Scopes = HashMap<Scope, Known>;

static SCOPES: LazyLock<Mutex<Scopes>> = LazyLock::new(Mutex::default);

/// Locks the scopes. The lock is held briefly, and no code of the program runs under it.
fn scopes() -> MutexGuard<'static, Scopes> {
    lock(&SCOPES)
}

/// Finds the engine `default`.
///
/// It looks in this runtime, then in the process. Otherwise it builds the engine from `poolhouse.toml` and the environment, not
/// started, and keeps it for the next call. An engine is kept as long as its runtime.
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
/// While its pool is not started, the engine takes on the settings that are given here, so that the last call before the start
/// decides. From the beginning of the start on, the start's settings stand. Settings with only a name change nothing.
///
/// # Errors
///
/// As [`engine_finder`]; and [`SettingsError::Differ`](crate::SettingsError::Differ) when the pool is started, or being
/// started, with other values than those given here.
#[track_caller]
pub fn engine_finder_with<DB: Backend>(settings: &Settings) -> Result<Engine<DB>, Error> {
    let name = settings.engine_name();
    let mut resolved = None;
    let (engine, is_new) = find_or_make(&[Scope::current(), Scope::Process], &name, || {
        let own = Arc::new(settings::resolve(settings)?);
        resolved = Some(Arc::clone(&own));
        Ok(Arc::new(Engine::<DB>::new(own)?))
    })?;
    let engine: Engine<DB> = typed(engine.as_ref())?;
    if !is_new && !settings.only_name() {
        let resolved = match resolved {
            Some(resolved) => resolved,
            None => Arc::new(settings::resolve(settings)?),
        };
        engine.configure(&resolved)?;
    }
    Ok(engine)
}

/// The worst [`readiness`](Engine::readiness) of the started engines that the current runtime and the process know, for a probe of
/// the whole program.
///
/// Other engines count only while none is started: those that are being started or closed, so that a function that starts an
/// engine of its own does not take the program out of service. If there is none of these either, it is `Starting`, or `Closed`
/// if one was closed. It is synchronous, asks no server and needs no connection.
pub fn readiness() -> Readiness {
    readiness_from(None)
}

/// The same, with the engines of a further scope.
pub(crate) fn readiness_from(scope: Option<Scope>) -> Readiness {
    let scopes = scopes();
    let within = [Some(Scope::current()), scope, Some(Scope::Process)];
    let (mut started, mut changing) = (None, None);
    let mut unused = Readiness::Starting;
    for (index, scope) in within.iter().enumerate() {
        let Some(known) = scope.and_then(|scope| scopes.get(&scope)) else {
            continue;
        };
        let nearer = || within[..index].iter().flatten();
        for (name, entry) in &known.engines {
            let is_hidden = nearer().any(|scope| {
                let nearer = scopes.get(scope).and_then(|known| known.engines.get(name));
                nearer.is_some_and(|nearer| !nearer.engine.is_idle())
            });
            if is_hidden {
                continue;
            }
            let readiness = entry.engine.readiness();
            let worst = match readiness {
                Readiness::Starting | Readiness::Closed if entry.engine.is_idle() => {
                    unused = unused.and(readiness);
                    continue;
                }
                Readiness::Starting | Readiness::Closed => &mut changing,
                _ => &mut started,
            };
            *worst = Some(worst.map_or(readiness, |worst: Readiness| worst.and(readiness)));
        }
    }
    started.or(changing).unwrap_or(unused)
}

/// Every engine of the current runtime.
#[cfg(feature = "testing")]
pub(crate) fn here() -> Vec<Arc<dyn ErasedEngine>> {
    let scopes = scopes();
    let known = scopes.get(&Scope::current());
    known
        .map(|known| {
            known
                .engines
                .values()
                .map(|entry| Arc::clone(&entry.engine))
                .collect()
        })
        .unwrap_or_default()
}

/// The engine of this name in the first of these scopes that has one, or a new one in the first scope; and whether it is new.
///
/// # Errors
///
/// Those of `make`.
pub(crate) fn find_or_make(
    within: &[Scope],
    name: &str,
    make: impl FnOnce() -> Result<Arc<dyn ErasedEngine>, Error>,
) -> Result<(Arc<dyn ErasedEngine>, bool), Error> {
    if let Some(engine) = find(&mut scopes(), within, name) {
        return Ok((engine, false));
    }
    let new = make()?;
    // Before the lock: a runtime that shuts down drops the task at once, and its drop takes the lock.
    let at_end = at_end_of(within[0]);
    let mut scopes = scopes();
    if let Some(engine) = find(&mut scopes, within, name) {
        drop(scopes);
        return Ok((engine, false));
    }
    put(&mut scopes, within[0], Arc::clone(&new), at_end);
    drop(scopes);
    Ok((new, true))
}

fn find(scopes: &mut Scopes, within: &[Scope], name: &str) -> Option<Arc<dyn ErasedEngine>> {
    let scope = within.iter().find(|scope| {
        scopes
            .get(scope)
            .is_some_and(|known| known.engines.contains_key(name))
    })?;
    let entry = scopes.get_mut(scope)?.engines.get_mut(name)?;
    if entry.released && entry.is_unused(1) {
        remove(scopes, *scope, name);
        return find(scopes, within, name);
    }
    entry.released = false;
    Some(Arc::clone(&entry.engine))
}

/// Forgets the engines of a scope when its runtime ends.
fn at_end_of(scope: Scope) -> Option<AtRuntimeEnd> {
    match scope {
        Scope::Runtime(_) => background::at_runtime_end(move || runtime_ended(scope)),
        Scope::Process => None,
    }
}

fn put(
    scopes: &mut Scopes,
    scope: Scope,
    engine: Arc<dyn ErasedEngine>,
    at_end: Option<AtRuntimeEnd>,
) {
    let known = scopes.entry(scope).or_insert_with(|| Known {
        engines: HashMap::new(),
        _at_end: at_end,
    });
    let name = engine.name().to_owned();
    let entry = EngineEntry {
        engine,
        released: false,
    };
    known.engines.insert(name, entry);
}

fn remove(scopes: &mut Scopes, scope: Scope, name: &str) -> Option<EngineEntry> {
    let known = scopes.get_mut(&scope)?;
    let removed = known.engines.remove(name);
    if known.engines.is_empty() {
        scopes.remove(&scope);
    }
    removed
}

/// Forgets the engines of a runtime that has ended.
fn runtime_ended(scope: Scope) {
    let ended = scopes().remove(&scope);
    // Outside the lock, because dropping the engines ends their connections.
    drop(ended);
}

/// Makes an engine known to the whole process as well.
pub(crate) fn publish(engine: Arc<dyn ErasedEngine>) {
    put(&mut scopes(), Scope::Process, engine, None);
}

/// Forgets an engine in these scopes, at once or at the first look-up after its other handles are dropped.
pub(crate) fn forget(within: &[Scope], engine: Arc<dyn ErasedEngine>) {
    let name = engine.name().to_owned();
    let mut scopes = scopes();
    let is_it = |scopes: &Scopes, scope: &Scope| {
        let entry = scopes.get(scope)?.engines.get(&name)?;
        Some(Arc::ptr_eq(&entry.engine, &engine))
    };
    let within: Vec<Scope> = within
        .iter()
        .copied()
        .filter(|scope| is_it(&scopes, scope) == Some(true))
        .collect();
    // Dropped first, because the caller's handle must not count.
    drop(engine);
    let mut forgotten = Vec::with_capacity(within.len());
    let entry = |scopes: &Scopes, scope: &Scope| -> Option<bool> {
        let entry = scopes.get(scope)?.engines.get(&name)?;
        Some(entry.is_unused(within.len()))
    };
    let unused = within.first().and_then(|scope| entry(&scopes, scope)) == Some(true);
    for scope in &within {
        if unused {
            forgotten.extend(remove(&mut scopes, *scope, &name));
        } else if let Some(known) = scopes.get_mut(scope)
            && let Some(entry) = known.engines.get_mut(&name)
        {
            entry.released = true;
        }
    }
    drop(scopes);
    drop(forgotten);
}

/// The engine of this name that is known to the current runtime, in this scope or to the process: the first one that is
/// started or being started, or else the first one. Never a new one. An engine that is to be forgotten stays so.
///
/// A worker's runtime may have an engine of its own that was never started, because `engine_finder` does not know the scope in
/// which the layer was made.
///
/// # Errors
///
/// It is of another kind than `DB`.
#[cfg(any(feature = "axum", feature = "actix-web", feature = "rocket"))]
pub(crate) fn find_known<DB: Backend>(
    name: &str,
    scope: Option<Scope>,
) -> Result<Option<Engine<DB>>, Error> {
    let levels = [Some(Scope::current()), scope, Some(Scope::Process)];
    let known = {
        let scopes = scopes();
        let mut found = levels
            .iter()
            .flatten()
            .filter_map(|scope| Some(&scopes.get(scope)?.engines.get(name)?.engine));
        let started = found.clone().find(|engine| !engine.is_idle());
        started.or_else(|| found.next()).cloned()
    };
    known.map(|engine| typed(engine.as_ref())).transpose()
}

/// The engine with its type.
///
/// # Errors
///
/// It is of another kind than `DB`. The error is about the engine's own settings, which the configuration may not have.
pub(crate) fn typed<DB: Backend>(engine: &dyn ErasedEngine) -> Result<Engine<DB>, Error> {
    match engine.as_any().downcast_ref::<Engine<DB>>() {
        Some(engine) => Ok(engine.clone()),
        None => Err(StartError::wrong_kind(&engine.settings(), engine.kind(), DB::KIND).into()),
    }
}
