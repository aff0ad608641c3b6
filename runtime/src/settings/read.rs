//! Reads settings from the layers, each with its default and its source.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::error::SettingsError;
use super::fixtures::Fixtures;
use super::form::Form;
use super::layers::Layers;
use super::migrations::Migrations;
use super::names::{self, DEFAULT_ENGINE};
use super::secrets::{conceal, show_url};
use super::sources::{Source, Sources};
use super::url::DatabaseUrl;
use super::value::Value;

/// A setting as logs and errors show it.
#[derive(Clone)]
pub(super) struct Shown {
    pub(super) name: &'static str,
    /// The setting as it was written; another one than `name` when its value takes that one's place.
    pub(super) written_as: &'static str,
    /// Formatted on demand: most starts show few settings, and those of tests none.
    value: Arc<dyn Fn() -> String + Send + Sync>,
    pub(super) source: Source,
}

impl Shown {
    pub(super) fn value(&self) -> String {
        (self.value)()
    }

    pub(super) fn replace(&mut self, value: impl Fn() -> String + Send + Sync + 'static) {
        self.value = Arc::new(value);
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} = {} ({})",
            self.written_as,
            self.value(),
            self.source
        )
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads settings from the layers and records how each is shown. Errors are boxed, because they are large and one
/// function reads many settings.
pub(super) struct Reader<'a> {
    pub(super) layers: &'a Layers,
    pub(super) shown: Vec<Shown>,
}

impl Reader<'_> {
    /// Records how a setting is shown.
    fn note(
        &mut self,
        name: &'static str,
        source: Source,
        value: impl Fn() -> String + Send + Sync + 'static,
    ) {
        self.shown.push(Shown {
            name,
            written_as: name,
            value: Arc::new(value),
            source,
        });
    }

    /// The value of a setting or its default.
    pub(super) fn or<T: Form>(
        &mut self,
        name: &'static str,
        default: T,
    ) -> Result<T, Box<SettingsError>> {
        let (value, source) = self.layers.get(name)?.unwrap_or((default, Source::Default));
        let shown = value.clone();
        self.note(name, source, move || shown.show());
        Ok(value)
    }

    /// The value of a setting that has no default.
    pub(super) fn maybe<T: Form>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, Box<SettingsError>> {
        let Some((value, source)) = self.layers.get::<T>(name)? else {
            self.note(name, Source::Default, || "not set".to_owned());
            return Ok(None);
        };
        let shown = value.clone();
        self.note(name, source, move || shown.show());
        Ok(Some(value))
    }

    /// The URL, or `otherwise` when no source gives one.
    pub(super) fn url(
        &mut self,
        otherwise: Option<&'static str>,
    ) -> Result<DatabaseUrl, Box<SettingsError>> {
        let (written, source) = match (self.layers.get::<String>("url")?, otherwise) {
            (Some(written), _) => written,
            (None, Some(url)) => (url.to_owned(), Source::Default),
            (None, None) => return Err(self.no_url().into()),
        };
        let url = DatabaseUrl::parse(&written).map_err(|reason| SettingsError::MalformedUrl {
            engine: self.layers.name(),
            setting: "url",
            url: show_url(&written),
            origin: source.to_string(),
            reason,
        })?;
        let shown = url.clone();
        self.note("url", source, move || shown.to_string());
        Ok(url)
    }

    /// The URL past a pooler, if there is one.
    pub(super) fn direct_url(&mut self) -> Result<Option<DatabaseUrl>, Box<SettingsError>> {
        let name = "direct_url";
        let Some((written, source)) = self.layers.get::<String>(name)? else {
            self.note(name, Source::Default, || "not set".to_owned());
            return Ok(None);
        };
        let url = DatabaseUrl::parse(&written).map_err(|reason| SettingsError::MalformedUrl {
            engine: self.layers.name(),
            setting: name,
            url: show_url(&written),
            origin: source.to_string(),
            reason,
        })?;
        let shown = url.clone();
        self.note(name, source, move || shown.to_string());
        Ok(Some(url))
    }

    pub(super) fn migrations(&mut self) -> Result<Migrations, Box<SettingsError>> {
        let name = "migrations";
        let (migrations, source) = match self.layers.raw(name) {
            None => {
                let of_crate = self
                    .layers
                    .in_test
                    .as_ref()
                    .map(|in_test| in_test.migrations.clone());
                (of_crate.unwrap_or_default(), Source::Default)
            }
            // The code gave migrations that are not text, and no stronger source gave any.
            Some((Value::InCode, source)) => (self.layers.code_migrations.clone(), source.clone()),
            Some(_) => match self.layers.get::<String>(name)? {
                // An empty path takes back that of a weaker source.
                Some((path, source)) if path.is_empty() => (Migrations::None, source),
                Some((path, source)) => (Migrations::Directory(self.directory(&path)), source),
                None => (Migrations::None, Source::Default),
            },
        };
        let shown = migrations.clone();
        self.note(name, source, move || {
            conceal(&shown.to_string()).into_owned()
        });
        Ok(migrations)
    }

    pub(super) fn fixtures(&mut self) -> Fixtures {
        let fixtures = self.layers.fixtures.clone();
        let source = self
            .layers
            .raw("fixtures")
            .map_or(Source::Default, |(_, source)| source.clone());
        let shown = fixtures.clone();
        self.note("fixtures", source, move || shown.to_string());
        fixtures
    }

    fn directory(&self, written: &str) -> PathBuf {
        self.layers.sources.surroundings.path(written)
    }

    /// The error for a missing URL, with every source that was searched. An engine unknown to all sources is probably
    /// misspelt.
    fn no_url(&self) -> SettingsError {
        let Layers {
            engine,
            url_variable,
            sources,
            ..
        } = self.layers;
        let Sources {
            surroundings,
            environment,
            file,
        } = sources;
        let (section, directory) = (names::section(engine), surroundings.directory.display());
        let in_file = file
            .as_ref()
            .is_some_and(|file| file.engines().any(|known| known == engine));
        if engine != DEFAULT_ENGINE && !in_file && self.layers.raw("env").is_none() {
            return self.unknown_engine();
        }
        let dot_env = match &environment.dot_env {
            Some(path) => format!("nor in {}", path.display()),
            None => format!("and there is no .env file in {directory} or above it"),
        };
        let file = match file {
            Some(file) => format!("{} gives no `url` in {section}", file.shown),
            None => format!("there is no poolhouse.toml in {directory} or above it"),
        };
        SettingsError::NoUrl {
            engine: engine.clone(),
            looked: format!(
                "the variable {url_variable} is not set in the environment, {dot_env}; {file}; the code gives no `url`"
            ),
            variable: url_variable.clone(),
            attribute: if engine == DEFAULT_ENGINE {
                "url = \"…\"".to_owned()
            } else {
                format!("engine = {engine:?}, url = \"…\"")
            },
            section,
        }
    }

    fn unknown_engine(&self) -> SettingsError {
        let Layers {
            engine, sources, ..
        } = self.layers;
        let Sources {
            environment, file, ..
        } = sources;
        let mut known: BTreeSet<String> = environment.engines().collect();
        known.extend(
            file.iter()
                .flat_map(|file| file.engines())
                .map(str::to_owned),
        );
        known.insert(DEFAULT_ENGINE.to_owned());
        let hint = names::nearest(engine, known.iter().map(String::as_str));
        SettingsError::UnknownEngine {
            engine: engine.clone(),
            origin: self.layers.engine_source.to_string(),
            hint: hint
                .map(|name| format!(" Did you mean `{name}`?"))
                .unwrap_or_default(),
            known: known.into_iter().collect::<Vec<_>>().join(", "),
            variable: names::url_variable(engine),
        }
    }
}
