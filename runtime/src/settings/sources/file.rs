//! `poolhouse.toml`: one section for each engine, and again for each profile.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::environment::{CONF, Environment, PROFILE};
use super::source::{Source, shown_path};
use super::surroundings::Surroundings;
use crate::settings::error::SettingsError;
use crate::settings::layer::Layer;
use crate::settings::names::{self, DEFAULT_ENGINE};
use crate::settings::secrets::{self, conceal};
use crate::settings::table::{self, Spec, Written};
use crate::settings::value::Value;

/// A file that was found, parsed and checked for unknown names.
pub(in crate::settings) struct File {
    /// Its path as errors show it.
    pub(in crate::settings) shown: String,
    /// The chosen profile.
    profile: Option<String>,
    sections: Vec<Section>,
}

/// The settings of one engine or node, in one profile or in all of them.
struct Section {
    profile: Option<String>,
    engine: String,
    /// The node of these settings; `None` for the engine itself.
    node: Option<String>,
    layer: Layer,
}

/// A file and a profile that variables name, with the sources of both. Without them, the file is searched.
#[derive(Default)]
pub(super) struct Choice {
    file: Option<(String, Source)>,
    profile: Option<(String, Source)>,
}

impl Choice {
    pub(super) fn of_environment(environment: &Environment) -> Result<Self, SettingsError> {
        Ok(Self {
            file: environment.variable(CONF)?,
            profile: environment.variable(PROFILE)?,
        })
    }
}

impl File {
    /// Finds and reads the file; `None` when there is none and no variable requires one.
    pub(super) fn open(
        surroundings: &Surroundings,
        Choice { file, profile }: Choice,
    ) -> Result<Option<Self>, SettingsError> {
        let path = match file {
            Some((named, source)) => {
                let path = surroundings.path(&named);
                if !path.is_file() {
                    return Err(SettingsError::NoSuchFile {
                        path: conceal(&named).into_owned(),
                        origin: source.to_string(),
                    });
                }
                Some(path)
            }
            None => surroundings.find_upwards("poolhouse.toml"),
        };
        let Some(path) = path else {
            return match profile {
                Some((profile, source)) => Err(SettingsError::NoFileForProfile {
                    profile: secrets::show_name(&profile).to_owned(),
                    origin: source.to_string(),
                    directory: surroundings.directory.display().to_string(),
                }),
                None => Ok(None),
            };
        };

        let shown = shown_path(&path, &surroundings.directory);
        let text = fs::read_to_string(&path).map_err(|error| SettingsError::Unreadable {
            path: shown.clone(),
            reason: error.to_string(),
        })?;
        let mut reader = FileReader {
            path,
            shown: &shown,
            text: &text,
            surroundings,
            sections: vec![],
            profiles: BTreeSet::new(),
        };
        reader.document()?;
        let FileReader {
            sections, profiles, ..
        } = reader;

        if let Some((profile, source)) = &profile
            && !profiles.contains(profile)
        {
            return Err(SettingsError::UnknownProfile {
                profile: secrets::show_name(profile).to_owned(),
                origin: source.to_string(),
                path: shown,
                known: profiles.into_iter().collect(),
            });
        }
        Ok(Some(Self {
            shown,
            profile: profile.map(|(profile, _)| profile),
            sections,
        }))
    }

    /// The layers of an engine or a node: for all profiles, then for the chosen one.
    pub(in crate::settings) fn layers<'a>(
        &'a self,
        engine: &'a str,
        node: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Layer> {
        let of = move |profile: Option<&'a str>| {
            self.sections
                .iter()
                .filter(move |section| {
                    section.engine == engine
                        && section.node.as_deref() == node
                        && section.profile.as_deref() == profile
                })
                .map(|section| &section.layer)
        };
        let chosen = self
            .profile
            .as_deref()
            .into_iter()
            .flat_map(move |profile| of(Some(profile)));
        of(None).chain(chosen)
    }

    /// The nodes of an engine that have a section for all profiles or for the chosen one.
    pub(in crate::settings) fn nodes<'a>(
        &'a self,
        engine: &'a str,
    ) -> impl Iterator<Item = &'a str> {
        self.sections
            .iter()
            .filter(move |section| section.engine == engine)
            .filter(|section| section.profile.is_none() || section.profile == self.profile)
            .filter_map(|section| section.node.as_deref())
    }

    /// The engines that have a section for all profiles or for the chosen one.
    pub(in crate::settings) fn engines(&self) -> impl Iterator<Item = &str> {
        self.sections
            .iter()
            .filter(|section| section.profile.is_none() || section.profile == self.profile)
            .map(|section| section.engine.as_str())
    }
}

/// Walks the parsed document, in which every key and value has its span.
struct FileReader<'a> {
    path: PathBuf,
    shown: &'a str,
    text: &'a str,
    surroundings: &'a Surroundings,
    sections: Vec<Section>,
    profiles: BTreeSet<String>,
}

impl FileReader<'_> {
    fn document(&mut self) -> Result<(), SettingsError> {
        let text = self.text;
        // Only the parser's message is used: its `Display` quotes the line, which may hold a password.
        let document = DeTable::parse(text).map_err(|error| {
            let (line, column) = self.position(&error.span().unwrap_or_default());
            SettingsError::Syntax {
                path: self.shown.to_owned(),
                line,
                column,
                message: error.message().to_owned(),
            }
        })?;
        for (name, value) in document.get_ref() {
            if name.get_ref().as_ref() == "profile" {
                for (profile, value) in self.table(name, value, "[profile.NAME.engine]")? {
                    self.profiles.insert(profile.get_ref().to_string());
                    for (name, value) in self.table(profile, value, "[profile.NAME.engine]")? {
                        self.top_level(Some(profile.get_ref()), name, value)?;
                    }
                }
            } else {
                self.top_level(None, name, value)?;
            }
        }
        Ok(())
    }

    /// Reads `engine` or `engines`, at the top of the document or of a profile.
    fn top_level(
        &mut self,
        profile: Option<&str>,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<(), SettingsError> {
        match name.get_ref().as_ref() {
            "engine" => self.section(
                profile,
                DEFAULT_ENGINE,
                None,
                self.table(name, value, "[engine]")?,
            ),
            "engines" => {
                for (engine, value) in self.table(name, value, "[engines.NAME]")? {
                    if engine.get_ref() == DEFAULT_ENGINE {
                        let hint = "the section of the default engine is [engine]".to_owned();
                        return Err(self.unknown(
                            "section",
                            "engines.default",
                            &engine.span(),
                            hint,
                        ));
                    }
                    self.section(
                        profile,
                        engine.get_ref(),
                        None,
                        self.table(engine, value, "[engines.NAME]")?,
                    )?;
                }
                Ok(())
            }
            other => {
                let hint = if table::find(other).is_some() || value.get_ref().as_table().is_none() {
                    "settings belong into a section: [engine] for the default engine, [engines.NAME] for others".to_owned()
                } else {
                    did_you_mean(names::nearest(other, ["engine", "engines", "profile"]))
                        .unwrap_or_else(|| {
                            "the sections are [engine], [engines.NAME] and [profile.NAME.…]"
                                .to_owned()
                        })
                };
                Err(self.unknown("section", other, &name.span(), hint))
            }
        }
    }

    /// Reads the settings of one engine, or of one of its nodes.
    fn section(
        &mut self,
        profile: Option<&str>,
        engine: &str,
        node: Option<&str>,
        table: &DeTable<'_>,
    ) -> Result<(), SettingsError> {
        let mut layer = Layer::default();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            if name == "nodes" && node.is_none() {
                for (node, value) in self.table(key, value, "[engine.nodes.NAME]")? {
                    let table = self.table(node, value, "[engine.nodes.NAME]")?;
                    self.section(profile, engine, Some(node.get_ref()), table)?;
                }
                continue;
            }
            match table::find(name).map(|spec| spec.written) {
                None | Some(Written::AttributeOnly) => {
                    let hint = table::meant(name, is_setter).map_or_else(
                        || "the settings are listed at https://docs.rs/poolhouse".to_owned(),
                        |meant| meant.hint(name),
                    );
                    return Err(self.unknown("setting", name, &key.span(), hint));
                }
                Some(Written::CodeOnly) => {
                    let hint = "it can be set in code only".to_owned();
                    return Err(self.unknown("setting", name, &key.span(), hint));
                }
                Some(Written::Anywhere | Written::NotInEnvironment) => {}
            }
            let (line, _) = self.position(&key.span());
            let mut value = plain(value.get_ref());
            if name == "migrations"
                && let Some(written) = value.as_str().filter(|written| !written.is_empty())
            {
                // A relative path in a file starts at the file's directory.
                let beside = self
                    .path
                    .parent()
                    .unwrap_or(&self.surroundings.directory)
                    .join(written);
                value = Value::from(beside.to_string_lossy().into_owned());
            }
            layer.set(
                name,
                value,
                Source::File {
                    path: self.shown.to_owned(),
                    line,
                },
            );
        }
        self.sections.push(Section {
            profile: profile.map(str::to_owned),
            engine: engine.to_owned(),
            node: node.map(str::to_owned),
            layer,
        });
        Ok(())
    }

    fn table<'t, 'i>(
        &self,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        value: &'t Spanned<DeValue<'i>>,
        written: &str,
    ) -> Result<&'t DeTable<'i>, SettingsError> {
        value.get_ref().as_table().ok_or_else(|| {
            self.unknown(
                "section",
                name.get_ref(),
                &name.span(),
                format!("a section is written {written}"),
            )
        })
    }

    fn unknown(
        &self,
        what: &'static str,
        name: &str,
        span: &Range<usize>,
        hint: String,
    ) -> SettingsError {
        let (line, _) = self.position(span);
        SettingsError::UnknownName {
            path: self.shown.to_owned(),
            line,
            what,
            name: secrets::show_name(name).to_owned(),
            hint,
        }
    }

    /// Line and column, from 1, of the start of a span.
    fn position(&self, span: &Range<usize>) -> (usize, usize) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        (line, column)
    }
}

/// Whether the builder has this setting, too.
fn is_setter(spec: &Spec) -> bool {
    spec.written != Written::AttributeOnly
}

fn did_you_mean(name: Option<&str>) -> Option<String> {
    name.map(|name| format!("did you mean `{name}`?"))
}

/// A value of the file without its spans.
fn plain(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        // A number that does not fit stays text, so that the error can show it.
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::from(number.to_string()), Value::Integer),
        DeValue::Float(number) => number
            .as_str()
            .parse::<f64>()
            .map_or_else(|_| Value::from(number.to_string()), Value::Float),
        DeValue::Boolean(truth) => Value::Bool(*truth),
        DeValue::Datetime(moment) => Value::from(moment.to_string()),
        DeValue::Array(values) => {
            Value::List(values.iter().map(|value| plain(value.get_ref())).collect())
        }
        DeValue::Table(_) => Value::Table,
    }
}
