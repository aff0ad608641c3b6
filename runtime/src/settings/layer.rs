//! Layers: what each place says, with the source of every value, and all of them stacked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::builder::Settings;
use super::connect::ConnectHook;
use super::engine::EngineSettings;
use super::error::SettingsError;
use super::fixtures::Fixtures;
use super::form::{self, Form};
use super::migrations::Migrations;
use super::names::{self, DEFAULT_ENGINE};
use super::program::ProgramSettings;
use super::secrets::HIDDEN;
use super::source::Source;
use super::sources::Sources;

/// The values that one place gives, not yet checked, and where exactly each is written.
#[derive(Clone, Default)]
pub(super) struct Layer {
    values: Dict,
    sources: BTreeMap<String, Source>,
}

impl Layer {
    /// Sets a value; a later one replaces an earlier one.
    pub(super) fn set(&mut self, name: &str, value: impl Into<Value>, source: Source) {
        self.values.insert(name.to_owned(), value.into());
        self.sources.insert(name.to_owned(), source);
    }

    /// Whether a setting is given.
    fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Puts the layer on top of others. A [`Figment`] copies what it has when it merges, and many layers say nothing.
    fn over(&self, beneath: Figment) -> Figment {
        if self.values.is_empty() {
            return beneath;
        }
        beneath.merge(self)
    }

    /// Whether no other setting than this one is given.
    pub(super) fn has_nothing_but(&self, name: &str) -> bool {
        self.values.keys().all(|given| given == name)
    }

    /// The text of a setting, if it is one.
    pub(super) fn text(&self, name: &str) -> Option<(String, Source)> {
        Some((
            self.values.get(name)?.as_str()?.to_owned(),
            self.sources.get(name)?.clone(),
        ))
    }
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.values {
            writeln!(
                f,
                "{name} = {} ({})",
                form::show_raw(name, value),
                self.sources[name]
            )?;
        }
        Ok(())
    }
}

impl Provider for &Layer {
    fn metadata(&self) -> Metadata {
        let sources = self.sources.clone();
        Metadata::named("poolhouse").interpolater(move |_, keys| {
            keys.first()
                .and_then(|key| sources.get(*key))
                .map(Source::to_string)
                .unwrap_or_default()
        })
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// What is different in the test position.
///
/// The environment sets only the URL there: a test means what it says, whatever the shell it is run from has set.
#[derive(Clone)]
pub(crate) struct InTest {
    /// The migrations of the crate, which count when no place names others.
    pub(crate) migrations: Migrations,
}

/// All layers of one engine, strongest on top.
pub(crate) struct Layers {
    pub(super) engine: String,
    /// The node of the engine that they are about.
    pub(super) node: Option<String>,
    /// Where the engine's name was written.
    pub(super) engine_source: Source,
    /// The variable that holds the URL.
    pub(super) url_variable: String,
    pub(super) connect: Vec<ConnectHook>,
    pub(super) before: Vec<ConnectHook>,
    pub(super) code_migrations: Migrations,
    pub(super) fixtures: Fixtures,
    pub(super) in_test: Option<InTest>,
    pub(super) sources: Sources,
    nodes_in_code: Vec<(String, Settings)>,
    stack: Stack,
}

/// What the layers come to, merged once: a [`Figment`] merges all that it holds for every question.
#[derive(Default)]
struct Stack {
    figment: Figment,
    values: Dict,
}

impl Stack {
    fn of(figment: Figment) -> Self {
        // No layer fails to give its data, and all of them are of this profile.
        let mut profiles = figment.data().unwrap_or_default();
        let values = profiles.remove(&Profile::Default).unwrap_or_default();
        Self { figment, values }
    }

    /// The value that wins, and where it was written.
    fn find(&self, name: &str) -> Option<(&Value, Source)> {
        let value = self.values.get(name)?;
        let metadata = self.figment.get_metadata(value.tag())?;
        let source = Source::from_text(metadata.interpolate(&Profile::Default, &[name]));
        Some((value, source))
    }
}

/// A name that stands in messages must look like one: it may be a URL that was written in the wrong place.
fn check_name(setting: &'static str, name: &str, source: &Source) -> Result<(), SettingsError> {
    if !name.contains(['=', '@', ':']) && !name.contains(char::is_control) {
        return Ok(());
    }
    Err(SettingsError::BadValue {
        engine: DEFAULT_ENGINE.to_owned(),
        setting,
        value: HIDDEN.to_owned(),
        origin: source.to_string(),
        accepts: "a name without `=`, `@` and `:`",
    })
}

impl Layers {
    /// What every place says of the engine that `code` names.
    pub(crate) fn collect(
        code: &Settings,
        sources: &Sources,
        in_test: Option<InTest>,
    ) -> Result<Self, SettingsError> {
        let (engine, engine_source) = code.engine_and_source();
        check_name("engine", &engine, &engine_source)?;
        let in_file = sources.file.iter();
        let in_file = in_file.flat_map(|file| file.layers(&engine, None));
        let (mut figment, mut names_variable) = (Figment::new(), false);
        for layer in in_file.chain([code.layer()]) {
            names_variable |= layer.has("env");
            figment = layer.over(figment);
        }

        let mut layers = Self {
            url_variable: names::url_variable(&engine),
            connect: code.connect_hooks().to_vec(),
            before: code.before_hooks().to_vec(),
            code_migrations: code.code_migrations().clone(),
            fixtures: code.code_fixtures().clone(),
            in_test,
            sources: sources.clone(),
            nodes_in_code: code.nodes().to_vec(),
            node: None,
            stack: Stack::default(),
            engine,
            engine_source,
        };
        if names_variable {
            layers.stack = Stack::of(figment.clone());
            if let Some((variable, source)) = layers.get::<String>("env")? {
                check_name("env", &variable, &source)?;
                layers.url_variable = variable;
            }
        }
        let overrides = sources.environment.layer(
            &layers.engine,
            &layers.url_variable,
            layers.in_test.is_some(),
        )?;
        layers.stack = Stack::of(overrides.over(figment));
        Ok(layers)
    }

    /// The settings of the engine; in a test with this URL where nobody gives one, if there is one.
    pub(crate) fn engine(
        &self,
        test_url: Option<&'static str>,
    ) -> Result<EngineSettings, SettingsError> {
        EngineSettings::read(self, test_url).map_err(|error| *error)
    }

    /// The settings of the program itself (its runtime and its signals), which need no database to be configured.
    pub(crate) fn program(&self) -> Result<ProgramSettings, SettingsError> {
        ProgramSettings::read(self)
    }

    /// The nodes of the engine, in the order of their names.
    pub(super) fn nodes(&self) -> BTreeSet<String> {
        let file = self.sources.file.iter();
        let in_file = file.flat_map(|file| file.nodes(&self.engine));
        let in_code = self.nodes_in_code.iter().map(|(name, _)| name.as_str());
        let mut nodes: BTreeSet<String> = in_file.chain(in_code).map(str::to_owned).collect();
        if self.in_test.is_none() {
            for node in self.sources.environment.nodes(&self.engine) {
                let variable = names::node_in_variables(&self.engine, &node);
                let is_it = |known: &String| {
                    names::variable_prefix(&names::node_in_variables(&self.engine, known))
                        == names::variable_prefix(&variable)
                };
                if !nodes.iter().any(is_it) {
                    nodes.insert(node);
                }
            }
        }
        nodes
    }

    /// The layers of one node: the engine's beneath, and its own URL.
    ///
    /// # Errors
    ///
    /// It has none.
    pub(super) fn of_node(&self, node: &str) -> Result<Self, SettingsError> {
        check_name("node", node, &self.engine_source)?;
        let variables = names::node_in_variables(&self.engine, node);
        let url_variable = format!("{}URL", names::variable_prefix(&variables));
        let mut own = Figment::new();
        if let Some(file) = &self.sources.file {
            for layer in file.layers(&self.engine, Some(node)) {
                own = layer.over(own);
            }
        }
        let (mut connect, mut before) = (self.connect.clone(), self.before.clone());
        for (_, settings) in self.nodes_in_code.iter().filter(|(name, _)| name == node) {
            own = settings.layer().over(own);
            connect.extend_from_slice(settings.connect_hooks());
            before.extend_from_slice(settings.before_hooks());
        }
        let only_url = self.in_test.is_some();
        let environment = &self.sources.environment;
        let overrides = environment.layer(&variables, &url_variable, only_url)?;
        own = overrides.over(own);
        if !own.contains("url") {
            return Err(SettingsError::NodeWithoutUrl {
                engine: self.engine.clone(),
                node: node.to_owned(),
                variable: url_variable,
            });
        }
        Ok(Self {
            engine: self.engine.clone(),
            node: Some(node.to_owned()),
            engine_source: self.engine_source.clone(),
            url_variable,
            connect,
            before,
            code_migrations: Migrations::None,
            fixtures: Fixtures::default(),
            in_test: self.in_test.clone(),
            sources: self.sources.clone(),
            nodes_in_code: vec![],
            stack: Stack::of(self.stack.figment.clone().merge(own)),
        })
    }

    /// The value of a setting in its own type, or `None` when no place gives one.
    pub(super) fn get<T: Form>(
        &self,
        name: &'static str,
    ) -> Result<Option<(T, Source)>, SettingsError> {
        let Some((value, source)) = self.stack.find(name) else {
            return Ok(None);
        };
        match T::read(value) {
            Some(read) => Ok(Some((read, source))),
            None => Err(SettingsError::BadValue {
                engine: self.engine.clone(),
                setting: name,
                value: form::show_raw(name, value),
                origin: source.to_string(),
                accepts: T::ACCEPTS,
            }),
        }
    }

    /// The value that wins, as it was written.
    pub(super) fn raw(&self, name: &str) -> Option<(Value, Source)> {
        let (value, source) = self.stack.find(name)?;
        Some((value.clone(), source))
    }
}
