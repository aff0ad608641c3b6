//! The environment: the variables of the process and, weaker, those of a `.env` file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::source::{Source, shown_path};
use super::surroundings::Surroundings;
use crate::settings::error::SettingsError;
use crate::settings::layer::Layer;
use crate::settings::names;
use crate::settings::table::{self, Written};

/// The variable that names a file to read instead of `poolhouse.toml`.
pub(super) const CONF: &str = "POOLHOUSE_CONF";

/// The variable that chooses a profile of the file.
pub(super) const PROFILE: &str = "POOLHOUSE_PROFILE";

/// Variables with their sources; those of the process win over those of `.env`.
pub(in crate::settings) struct Environment {
    surroundings: Arc<Surroundings>,
    /// The `.env` file that was found, if any.
    pub(in crate::settings) dot_env: Option<PathBuf>,
    from_dot_env: BTreeMap<String, (String, Source)>,
}

impl Environment {
    /// Reads the nearest `.env` file, if there is one.
    pub(in crate::settings) fn read(
        surroundings: &Arc<Surroundings>,
    ) -> Result<Self, SettingsError> {
        let dot_env = surroundings.find_upwards(".env");
        let mut environment = Self {
            surroundings: Arc::clone(surroundings),
            dot_env: dot_env.clone(),
            from_dot_env: BTreeMap::new(),
        };
        let Some(path) = dot_env else {
            return Ok(environment);
        };

        let directory = &surroundings.directory;
        let text = fs::read_to_string(&path).map_err(|error| SettingsError::Unreadable {
            path: shown_path(&path, directory),
            reason: error.to_string(),
        })?;
        // The parser refuses a last line that ends in a space and not in a line break.
        let text = format!("{}\n", text.trim_start_matches('\u{feff}'));
        // The number of lines up to the last variable.
        let mut read = 0;
        for entry in dotenvy::from_read_iter(text.as_bytes()) {
            // The parser's own message quotes the line, which may hold a password.
            let (name, value) = entry.map_err(|error| SettingsError::DotEnv {
                path: shown_path(&path, directory),
                line: line_of_mistake(&text, &error, read),
            })?;
            let line = line_of(&text, &name);
            read = line.max(read);
            let source = Source::DotEnv {
                path: shown_path(&path, directory),
                line,
                variable: name.clone(),
            };
            // As in other readers of such files, the first line that sets a variable counts.
            environment
                .from_dot_env
                .entry(name)
                .or_insert((value, source));
        }
        Ok(environment)
    }

    /// The value of a variable. One that is set but empty counts as not set.
    pub(in crate::settings) fn variable(
        &self,
        name: &str,
    ) -> Result<Option<(String, Source)>, SettingsError> {
        let of_process = self.surroundings.variable(name);
        if let Some(value) = of_process.filter(|value| !value.is_empty()) {
            let value = value
                .to_str()
                .ok_or_else(|| SettingsError::NotUnicode {
                    variable: name.to_owned(),
                })?
                .to_owned();
            let variable = name.to_owned();
            return Ok(Some((value, Source::Environment { variable })));
        }
        Ok(self
            .from_dot_env
            .get(name)
            .filter(|(value, _)| !value.is_empty())
            .cloned())
    }

    /// Whether a variable is set, and not empty.
    fn is_set(&self, name: &str) -> bool {
        // A value that is not Unicode is set, and an error where it is read.
        !matches!(self.variable(name), Ok(None))
    }

    /// The layer of one engine from the environment; with `only_url`, its URLs alone.
    pub(in crate::settings) fn layer(
        &self,
        engine: &str,
        url_variable: &str,
        only_url: bool,
    ) -> Result<Layer, SettingsError> {
        let mut layer = Layer::default();
        if let Some((url, source)) = self.variable(url_variable)? {
            layer.set("url", url, source);
        }
        let mut set = |setting: &str| {
            if let Some((value, source)) = self.variable(&names::variable(engine, setting))? {
                layer.set(setting, value, source);
            }
            Ok(())
        };
        if only_url {
            // Only the URLs; other variables do not count.
            set("direct_url")?;
            return Ok(layer);
        }
        let prefix = names::variable_prefix(engine);
        for written in self.names().filter_map(|name| name.strip_prefix(&prefix)) {
            let setting = written.to_ascii_lowercase();
            if table::find(&setting).is_some_and(|spec| spec.written == Written::Anywhere) {
                set(&setting)?;
            }
        }
        Ok(layer)
    }

    /// The nodes of an engine that have a URL in the environment: `POOLHOUSE_NODES_REPLICA1_URL`.
    pub(in crate::settings) fn nodes(&self, engine: &str) -> impl Iterator<Item = String> {
        let prefix = nodes_prefix(engine);
        self.names().filter_map(move |name| {
            let node = name.strip_prefix(&prefix)?.strip_suffix("_URL")?;
            // Those of `POOLHOUSE_NODES_REPLICA1_DIRECT_URL`, and of a name made like `REPORTS_DATABASE_URL`.
            let is_other = ["DIRECT", "DATABASE"].iter().any(|other| {
                node.strip_suffix(other)
                    .is_some_and(|node| node.is_empty() || node.ends_with('_'))
            });
            (!node.is_empty() && !is_other && self.is_set(name)).then(|| node.to_ascii_lowercase())
        })
    }

    /// A warning for each variable of a node that the engine does not have.
    pub(in crate::settings) fn of_no_node(
        &self,
        engine: &str,
        nodes: &BTreeSet<String>,
    ) -> Vec<String> {
        let prefix = nodes_prefix(engine);
        let known = nodes
            .iter()
            .map(|node| names::node_in_variables(engine, node));
        let known: Vec<String> = known.map(|node| names::variable_prefix(&node)).collect();
        let unknown: BTreeSet<&str> = self
            .names()
            .filter(|name| name.starts_with(&prefix) && self.is_set(name))
            .filter(|name| !known.iter().any(|known| name.starts_with(known)))
            .collect();
        let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
        let warning = |name| {
            format!(
                "{name} has no effect: the engine has no node of this name; known: {}",
                names::list_or_none(&nodes)
            )
        };
        unknown.into_iter().map(warning).collect()
    }

    /// A warning for each variable that looks like a misspelt setting of this engine, or of the node with this name in
    /// variables.
    pub(in crate::settings) fn misspelt(&self, engine: &str, url_variable: &str) -> Vec<String> {
        let prefix = names::variable_prefix(engine);
        let ours = self.names().filter(|name| name.starts_with(&prefix));
        let ours: BTreeSet<&str> = ours.collect();
        let is_node = engine.contains("nodes_");
        // Of another node, whose name begins with this one's: `POOLHOUSE_NODES_EAST_2_` beside `POOLHOUSE_NODES_EAST_`.
        let is_setting = |stem: &str| {
            let written = format!("{}url", stem[prefix.len()..].to_ascii_lowercase());
            table::find(&written).is_some()
        };
        let longer: Vec<&str> = ours
            .iter()
            .filter_map(|name| name.strip_suffix("URL"))
            .filter(|stem| is_node && stem.len() >= prefix.len() && !is_setting(stem))
            .filter(|stem| !stem.ends_with("DATABASE_"))
            .collect();
        let is_of_longer = |name: &&str| longer.iter().any(|stem| name.starts_with(stem));
        ours.iter()
            .copied()
            .filter(|name| !is_of_longer(name))
            .filter(|name| ![CONF, PROFILE, url_variable].contains(name))
            .filter_map(|name| {
                let written = name.strip_prefix(&prefix)?.to_ascii_lowercase();
                if written.starts_with("nodes_") || is_of_another_engine(engine, &written) {
                    return None;
                }
                let spec = match table::find(&written) {
                    Some(spec) => spec,
                    None => table::find(table::meant(&written, |_| true)?.name())?,
                };
                let setting = spec.name;
                Some(match spec.written {
                    Written::Anywhere if name == names::variable(engine, setting) => return None,
                    Written::Anywhere => {
                        format!(
                            "{name} is not a variable of poolhouse; did you mean {}?",
                            names::variable(engine, setting)
                        )
                    }
                    Written::NotInEnvironment if setting == "url" => {
                        format!(
                            "{name} is not a variable of poolhouse; did you mean {url_variable}?"
                        )
                    }
                    _ => {
                        format!(
                            "{name} has no effect: `{setting}` cannot be set in the environment"
                        )
                    }
                })
            })
            .collect()
    }

    /// The engines that have a URL in the environment, by the names of their variables.
    pub(in crate::settings) fn engines(&self) -> impl Iterator<Item = String> {
        self.names()
            .filter_map(|name| name.strip_suffix("_DATABASE_URL"))
            .map(str::to_ascii_lowercase)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let process = self.surroundings.variables.iter().map(|(name, _)| name);
        let beneath = self
            .from_dot_env
            .keys()
            .filter(|name| self.surroundings.variable(name).is_none());
        process.chain(beneath).map(String::as_str)
    }
}

/// The prefix of the variables of all nodes of an engine: `POOLHOUSE_NODES_`.
fn nodes_prefix(engine: &str) -> String {
    let prefix = names::variable_prefix(&names::node_in_variables(engine, ""));
    // The empty node name leaves two underscores at the end.
    prefix.trim_end_matches('_').to_owned() + "_"
}

/// Whether a variable of the default engine's prefix is the setting of another engine: `POOLHOUSE_REPORTS_MAX_SIZE`.
fn is_of_another_engine(engine: &str, written: &str) -> bool {
    let is_setting = |(at, _): (usize, _)| {
        table::find(&written[at + 1..]).is_some_and(|spec| spec.written == Written::Anywhere)
    };
    engine == names::DEFAULT_ENGINE
        && table::find(written).is_none()
        && written.match_indices('_').any(is_setting)
}

/// The line of a `.env` file that the parser refuses, after those it has `read`.
fn line_of_mistake(text: &str, error: &dotenvy::Error, read: usize) -> usize {
    let refused = match error {
        dotenvy::Error::LineParse(refused, _) => refused.lines().next().unwrap_or_default().trim(),
        _ => "",
    };
    // The parser quotes the line, or only the value of its variable, in both cases without a comment.
    let is_it = |line: &str| {
        let value = line.split_once('=').map(|(_, value)| value.trim_start());
        !line.trim_start().starts_with('#')
            && (line.trim_start().starts_with(refused)
                || value.is_some_and(|value| value.starts_with(refused)))
    };
    let mut rest = text.lines().enumerate().skip(read);
    let found = rest.find(|(_, line)| !refused.is_empty() && is_it(line));
    found.map_or(1, |(at, _)| at + 1)
}

/// The line on which a `.env` file first sets a variable.
fn line_of(text: &str, name: &str) -> usize {
    let sets = |line: &str| {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        line.strip_prefix(name)
            .is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    text.lines().position(sets).map_or(1, |at| at + 1)
}
