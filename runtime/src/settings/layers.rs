//! All layers of one engine, merged: the strongest value of each setting, with its source.

use std::collections::BTreeSet;

use super::builder::Settings;
use super::connect::ConnectHook;
use super::error::SettingsError;
use super::fixtures::Fixtures;
use super::form::{self, Form};
use super::layer::Layer;
use super::migrations::Migrations;
use super::names::{self, DEFAULT_ENGINE};
use super::secrets::HIDDEN;
use super::sources::{Source, Sources};
use super::value::Value;

/// The differences of the test position.
///
/// The environment sets only the URLs there, so that the variables of a shell do not change what a test does.
#[derive(Clone)]
pub(crate) struct InTest {
    /// The crate's migrations, used when no source names others.
    pub(crate) migrations: Migrations,
}

/// All layers of one engine, merged.
pub(crate) struct Layers {
    pub(super) engine: String,
    /// The node of these layers; `None` for the engine itself.
    pub(super) node: Option<String>,
    /// The source of the engine's name.
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
    merged: Layer,
}

/// Refuses a name that may be a misplaced URL, because messages show names.
fn check_name(
    engine: &str,
    setting: &'static str,
    name: &str,
    source: &Source,
) -> Result<(), SettingsError> {
    if !name.contains(['=', '@', ':']) && !name.contains(char::is_control) {
        return Ok(());
    }
    Err(SettingsError::BadValue {
        engine: engine.to_owned(),
        setting,
        value: HIDDEN.to_owned(),
        origin: source.to_string(),
        accepts: "a name without `=`, `@` and `:`",
    })
}

impl Layers {
    /// Merges all sources of the engine that `code` names.
    pub(crate) fn collect(
        code: &Settings,
        sources: &Sources,
        in_test: Option<InTest>,
    ) -> Result<Self, SettingsError> {
        let (engine, engine_source) = code.engine_and_source();
        // The name itself is the wrong value, and not shown.
        check_name(DEFAULT_ENGINE, "engine", &engine, &engine_source)?;
        let in_file = sources.file.iter();
        let in_file = in_file.flat_map(|file| file.layers(&engine, None));
        let mut merged = Layer::default();
        for layer in in_file.chain([code.layer()]) {
            merged.put_on(layer);
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
            merged,
            engine,
            engine_source,
        };
        let name = layers.engine.clone();
        layers.put_environment(&name)?;
        Ok(layers)
    }

    /// The engine's name; for a node, `engine/node`.
    pub(super) fn name(&self) -> String {
        match &self.node {
            Some(node) => format!("{}/{node}", self.engine),
            None => self.engine.clone(),
        }
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

    /// A warning for each variable that has no effect and is probably meant for this engine or node.
    pub(super) fn without_effect(&self) -> Vec<String> {
        let environment = &self.sources.environment;
        if let Some(node) = &self.node {
            let node = names::node_in_variables(&self.engine, node);
            return environment.misspelt(&node, &self.url_variable);
        }
        let mut warnings = environment.misspelt(&self.engine, &self.url_variable);
        warnings.extend(environment.of_no_node(&self.engine, &self.nodes()));
        warnings
    }

    /// The layers of one node, on top of the engine's.
    ///
    /// # Errors
    ///
    /// The node has no URL of its own, or its name or a variable is not valid.
    pub(super) fn of_node(&self, node: &str) -> Result<Self, SettingsError> {
        check_name(&self.engine, "node", node, &self.engine_source)?;
        let variables = names::node_in_variables(&self.engine, node);
        let mut own = Layer::default();
        if let Some(file) = &self.sources.file {
            for layer in file.layers(&self.engine, Some(node)) {
                own.put_on(layer);
            }
        }
        let (mut connect, mut before) = (self.connect.clone(), self.before.clone());
        for (_, settings) in self.nodes_in_code.iter().filter(|(name, _)| name == node) {
            own.put_on(settings.layer());
            connect.extend_from_slice(settings.connect_hooks());
            before.extend_from_slice(settings.before_hooks());
        }
        let mut layers = Self {
            engine: self.engine.clone(),
            node: Some(node.to_owned()),
            engine_source: self.engine_source.clone(),
            url_variable: format!("{}URL", names::variable_prefix(&variables)),
            connect,
            before,
            code_migrations: Migrations::None,
            fixtures: Fixtures::default(),
            in_test: self.in_test.clone(),
            sources: self.sources.clone(),
            nodes_in_code: vec![],
            merged: own,
        };
        layers.put_environment(&variables)?;
        if layers.merged.get("url").is_none() {
            return Err(SettingsError::NodeWithoutUrl {
                engine: self.engine.clone(),
                node: node.to_owned(),
                variable: layers.url_variable,
            });
        }
        let own = std::mem::replace(&mut layers.merged, self.merged.clone());
        layers.merged.put_on(&own);
        if own.get("direct_url").is_none() {
            // That of the engine leads to another server.
            layers.merged.remove("direct_url");
        }
        // Work that is done once for a database is done through its engine.
        for name in ["migrations", "extensions"] {
            layers.merged.remove(name);
            if let Some((_, source)) = own.get(name) {
                let engine = layers.name();
                crate::logging::warn!(
                    engine,
                    "`{name}` ({source}) has no effect on a node; set it for the engine",
                );
            }
        }
        Ok(layers)
    }

    /// Puts the environment on top: the variables of `prefix`, and the one that the setting `env` names.
    fn put_environment(&mut self, prefix: &str) -> Result<(), SettingsError> {
        if let Some((variable, source)) = self.get::<String>("env")? {
            check_name(&self.name(), "env", &variable, &source)?;
            self.url_variable = variable;
        }
        let only_url = self.in_test.is_some();
        let environment = &self.sources.environment;
        let overrides = environment.layer(prefix, &self.url_variable, only_url)?;
        self.merged.put_on(&overrides);
        Ok(())
    }

    /// The value of a setting in its own type, or `None` when no source gives one.
    pub(super) fn get<T: Form>(
        &self,
        name: &'static str,
    ) -> Result<Option<(T, Source)>, SettingsError> {
        let Some((value, source)) = self.merged.get(name) else {
            return Ok(None);
        };
        match T::read(value) {
            Some(read) => Ok(Some((read, source.clone()))),
            None => Err(SettingsError::BadValue {
                engine: self.name(),
                setting: name,
                value: form::show_raw(name, value),
                origin: source.to_string(),
                accepts: T::ACCEPTS,
            }),
        }
    }

    /// The strongest value of a setting, as written.
    pub(super) fn raw(&self, name: &str) -> Option<(&Value, &Source)> {
        self.merged.get(name)
    }
}
