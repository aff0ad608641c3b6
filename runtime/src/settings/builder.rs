//! The settings that the code gives.

use std::fmt;
use std::panic::Location;

use super::connect::{ConnectHook, Prepare};
use super::error::SettingsError;
use super::fixtures::{Fixture, Fixtures};
use super::layer::Layer;
use super::migrations::Migrations;
use super::names::DEFAULT_ENGINE;
use super::secrets::{conceal, show_name};
use super::sources::Source;
use super::table::{self, Reach};
use super::value::Value;

/// Settings of one engine, given in code.
///
/// Every setter is optional, and none fails: an invalid value is stored with its location and reported when the engine
/// starts. Settings in code are stronger than `poolhouse.toml` and weaker than the environment.
///
/// ```
/// use poolhouse::Settings;
///
/// let settings = Settings::new().engine("reports").max_size(5).acquire_timeout("2s");
/// ```
///
/// The attribute takes the same names: `#[with_pool(engine = "reports", max_size = 5, acquire_timeout = "2s")]`. Except
/// where a setter says otherwise, the file and the environment take them too:
///
/// ```toml
/// # poolhouse.toml
/// [engines.reports]
/// max_size = 5
/// acquire_timeout = "2s"     # POOLHOUSE_REPORTS_ACQUIRE_TIMEOUT=2s
/// ```
#[derive(Clone)]
pub struct Settings {
    /// The name of this code in sources: `builder` or `attribute`.
    label: &'static str,
    layer: Layer,
    connect: Vec<ConnectHook>,
    before: Vec<ConnectHook>,
    migrations: Migrations,
    fixtures: Fixtures,
    /// Further servers, each with settings of its own.
    nodes: Vec<(String, Settings)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self::new()
    }
}

impl Settings {
    /// Creates empty settings.
    #[must_use]
    pub fn new() -> Self {
        Self {
            label: "builder",
            layer: Layer::default(),
            connect: vec![],
            before: vec![],
            migrations: Migrations::None,
            fixtures: Fixtures::default(),
            nodes: vec![],
        }
    }

    /// Settings that come from the arguments of `#[with_pool]`.
    #[doc(hidden)]
    #[must_use]
    pub fn attribute() -> Self {
        Self {
            label: "attribute",
            ..Self::new()
        }
    }

    /// Adds a node, and replaces an earlier one of the same name.
    pub(super) fn add_node(mut self, name: String, settings: Settings) -> Self {
        self.nodes.retain(|(known, _)| *known != name);
        self.nodes.push((name, settings));
        self
    }

    pub(super) fn nodes(&self) -> &[(String, Settings)] {
        &self.nodes
    }

    pub(super) fn code_fixtures(&self) -> &Fixtures {
        &self.fixtures
    }

    /// Adds a fixture; the layer holds its source.
    #[track_caller]
    pub(super) fn add_fixture(mut self, fixture: Fixture) -> Self {
        self.fixtures.add(fixture);
        self.set("fixtures", Value::InCode)
    }

    /// The name of the engine that these settings are for.
    pub(crate) fn engine_name(&self) -> String {
        self.engine_and_source().0
    }

    /// The name of the engine, when these settings give one.
    pub(crate) fn given_name(&self) -> Option<String> {
        let given = self.layer.get("engine").is_some();
        given.then(|| self.engine_name())
    }

    /// These settings on top of others: a value of the others remains where none is set here, and so do their hooks and
    /// fixtures. Of `url` and `env`, which exclude each other, either one replaces the other.
    pub(crate) fn on_top_of(&self, beneath: &Self) -> Self {
        let mut merged = beneath.clone();
        for (given, other) in [("url", "env"), ("env", "url")] {
            if self.layer.get(given).is_some() {
                merged.layer.remove(other);
            }
        }
        merged.layer.put_on(&self.layer);
        merged.connect.extend_from_slice(&self.connect);
        merged.before.extend_from_slice(&self.before);
        if self.layer.get("migrations").is_some() {
            merged.migrations = self.migrations.clone();
        }
        merged.fixtures.extend(&self.fixtures);
        self.nodes.iter().fold(merged, |merged, (name, node)| {
            merged.add_node(name.clone(), node.clone())
        })
    }

    /// Fails when a setting of the engine is set, because the engine is not started.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Unused`], with every such setting.
    pub(crate) fn check_unused(&self) -> Result<(), SettingsError> {
        let is_of_engine = |name: &str| {
            let spec = table::find(name);
            spec.is_some_and(|spec| matches!(spec.reach, Reach::Engine | Reach::Test))
        };
        let values = self.layer.iter();
        let values = values.filter(|(name, _)| is_of_engine(name));
        let hooks = [
            ("connect_with", &self.connect),
            ("before_connect", &self.before),
        ];
        let hooks = hooks.iter().flat_map(|(name, hooks)| {
            let hooks = hooks.iter();
            hooks.map(|hook| (*name, &hook.source))
        });
        let unused = values.chain(hooks);
        let unused: Vec<String> = unused
            .map(|(name, source)| format!("`{name}` ({source})"))
            .collect();
        if unused.is_empty() {
            return Ok(());
        }
        Err(SettingsError::Unused {
            engine: self.engine_name(),
            settings: unused.join(", "),
        })
    }

    /// Whether nothing but the engine's name is set.
    pub(crate) fn only_name(&self) -> bool {
        self.connect.is_empty()
            && self.before.is_empty()
            && self.nodes.is_empty()
            && self.layer.has_nothing_but("engine")
    }

    pub(super) fn engine_and_source(&self) -> (String, Source) {
        match self.layer.get("engine") {
            Some((Value::Text(name), source)) => (name.clone(), source.clone()),
            _ => (DEFAULT_ENGINE.to_owned(), Source::Default),
        }
    }

    pub(super) fn layer(&self) -> &Layer {
        &self.layer
    }

    pub(super) fn connect_hooks(&self) -> &[ConnectHook] {
        &self.connect
    }

    pub(super) fn before_hooks(&self) -> &[ConnectHook] {
        &self.before
    }

    pub(super) fn code_migrations(&self) -> &Migrations {
        &self.migrations
    }

    fn here(&self, location: &'static Location<'static>) -> Source {
        let label = self.label;
        Source::Code { label, location }
    }

    /// Sets a value of the layer, with the location of the setter's caller.
    #[track_caller]
    pub(super) fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        let source = self.here(Location::caller());
        self.layer.set(name, value, source);
        self
    }

    /// Adds a function over the connect options of one driver.
    #[track_caller]
    pub(super) fn add_connect<O: 'static>(
        mut self,
        change: impl Fn(O) -> O + Send + Sync + 'static,
    ) -> Self {
        let source = self.here(Location::caller());
        self.connect.push(ConnectHook::new(change, source));
        self
    }

    /// Adds a function that is called before each connect.
    #[track_caller]
    pub(super) fn add_before<O: 'static, F: 'static>(mut self, prepare: Prepare<O>) -> Self {
        let source = self.here(Location::caller());
        self.before
            .push(ConnectHook::before::<O, F>(prepare, source));
        self
    }

    /// Sets migrations that are not text. They are stored outside the layer, which holds a placeholder with their source.
    #[track_caller]
    pub(super) fn set_migrations(mut self, migrations: Migrations) -> Self {
        self.migrations = migrations;
        self.set("migrations", Value::InCode)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.nodes.iter();
        let nodes: Vec<_> = nodes.map(|(name, node)| (show_name(name), node)).collect();
        f.debug_struct("Settings")
            .field("values", &self.layer)
            .field("migrations", &conceal(&self.migrations.to_string()))
            .field("nodes", &nodes)
            .finish_non_exhaustive()
    }
}
