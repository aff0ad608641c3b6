//! The settings of one engine, complete and valid.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use figment::value::Value;
use tracing::level_filters::LevelFilter;

use super::connect::ConnectHook;
use super::error::SettingsError;
use super::form::{Form, Limit};
use super::layer::Layers;
use super::migrations::{Migrations, SharedMigrator};
use super::names::{self, DEFAULT_ENGINE};
use super::source::Source;
use super::url::{self, DatabaseUrl};

/// Everything an engine needs to know to start its pool. The fields are the settings of the same names.
#[derive(Clone)]
pub(crate) struct EngineSettings {
    pub(crate) engine: String,
    pub(crate) url: DatabaseUrl,
    /// At least 1.
    pub(crate) max_size: u32,
    /// At most `max_size`.
    pub(crate) min_size: u32,
    pub(crate) acquire_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) start_timeout: Duration,
    /// `None`: off.
    pub(crate) idle_timeout: Option<Duration>,
    /// `None`: off.
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) validate_after: Duration,
    /// `None`: off.
    pub(crate) leak_after: Option<Duration>,
    pub(crate) close_timeout: Duration,
    pub(crate) lazy: bool,
    pub(crate) statement_cache: u32,
    /// `None`: the position decides; the attribute gives the crate's name.
    pub(crate) application_name: Option<String>,
    pub(crate) session: Option<String>,
    pub(crate) extensions: Vec<String>,
    pub(crate) log_queries: LevelFilter,
    pub(crate) slow_query: Duration,
    pub(crate) migrations: Migrations,
    connect: Vec<ConnectHook>,
    shown: Vec<Shown>,
}

/// A setting as logs and errors show it.
#[derive(Clone)]
struct Shown {
    name: &'static str,
    value: String,
    source: Source,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} ({})", self.name, self.value, self.source)
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl EngineSettings {
    /// Reads every setting out of the layers and checks those that depend on each other.
    pub(crate) fn read(layers: &Layers) -> Result<Self, SettingsError> {
        for warning in layers.environment.misspelt(&layers.engine) {
            tracing::warn!(engine = layers.engine, "{warning}");
        }
        let seconds = Duration::from_secs;
        let mut read = Reader {
            layers,
            shown: vec![],
        };
        let url = read.url()?;
        let settings = Self {
            engine: layers.engine.clone(),
            url,
            max_size: read.or("max_size", TEN)?.get(),
            min_size: read.or("min_size", 0)?,
            acquire_timeout: read.or("acquire_timeout", seconds(30))?,
            connect_timeout: read.or("connect_timeout", seconds(10))?,
            start_timeout: read.or("start_timeout", seconds(30))?,
            idle_timeout: read.or("idle_timeout", Limit(Some(seconds(10 * 60))))?.0,
            max_lifetime: read.or("max_lifetime", Limit(Some(seconds(30 * 60))))?.0,
            validate_after: read.or("validate_after", Duration::from_millis(500))?,
            leak_after: read.or("leak_after", Limit(None))?.0,
            close_timeout: read.or("close_timeout", seconds(10))?,
            lazy: read.or("lazy", false)?,
            statement_cache: read.or("statement_cache", 100)?,
            application_name: read.maybe("application_name")?,
            session: read.maybe("session")?,
            extensions: read.or("extensions", vec![])?,
            log_queries: read.or("log_queries", LevelFilter::OFF)?,
            slow_query: read.or("slow_query", seconds(1))?,
            migrations: read.migrations()?,
            connect: layers.connect.clone(),
            shown: read.shown,
        };
        if settings.min_size > settings.max_size {
            return Err(SettingsError::MinAboveMax {
                min_size: settings.describe("min_size"),
                max_size: settings.describe("max_size"),
                engine: settings.engine,
            });
        }
        Ok(settings)
    }

    /// Where the value of a setting comes from.
    pub(crate) fn source(&self, setting: &str) -> Source {
        self.shown(setting)
            .map_or_else(Source::default_value, |shown| shown.source.clone())
    }

    /// A setting for logs and errors: `max_size = 20 (attribute, src/main.rs:7)`.
    pub(crate) fn describe(&self, setting: &str) -> String {
        self.shown(setting)
            .map_or_else(|| format!("{setting} (default)"), Shown::to_string)
    }

    /// The settings that somebody set, as [`describe`](Self::describe) shows them.
    pub(crate) fn changed(&self) -> impl Iterator<Item = String> {
        self.shown
            .iter()
            .filter(|shown| !shown.source.is_default())
            .map(Shown::to_string)
    }

    /// The settings in which two resolutions of an engine differ, each with both values and sources. Empty when they mean
    /// the same pool, wherever the values come from.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let pairs = self.shown.iter().zip(&other.shown);
        let mut differences: Vec<_> = pairs
            .filter(|(one, other)| match one.name {
                // Compared below: what is shown of them is not all there is.
                "url" | "migrations" => false,
                _ => one.value != other.value,
            })
            .map(|(one, other)| format!("{one}, {other}"))
            .collect();
        if self.url != other.url {
            differences.push(format!(
                "{}, {}",
                self.describe("url"),
                other.describe("url")
            ));
        }
        if !self.migrations.same_as(&other.migrations) {
            differences.push(format!(
                "{}, {}",
                self.describe("migrations"),
                other.describe("migrations")
            ));
        }
        let same_connect = self.connect.len() == other.connect.len()
            && self
                .connect
                .iter()
                .zip(&other.connect)
                .all(|(one, other)| one.same_as(other));
        if !same_connect {
            let places = self
                .connect
                .iter()
                .chain(&other.connect)
                .map(|hook| hook.source.to_string());
            differences.push(format!(
                "connect_with ({})",
                places.collect::<Vec<_>>().join("; ")
            ));
        }
        differences
    }

    /// Whether both mean the same pool.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        self.differences(other).is_empty()
    }

    /// Lets the functions given to `connect_with` change the driver's options.
    pub(crate) fn connect_with<O: 'static>(&self, options: O) -> Result<O, SettingsError> {
        let Some(last) = self.connect.last() else {
            return Ok(options);
        };
        match self.connect.iter().rev().find_map(ConnectHook::change::<O>) {
            Some(change) => Ok(change(options)),
            None => Err(SettingsError::ConnectWith {
                engine: self.engine.clone(),
                origin: last.source.to_string(),
                given: last.options,
                wanted: std::any::type_name::<O>(),
            }),
        }
    }

    /// The migrations in the driver's own form; `None` when there are none to run. Reads the directory, if it is one.
    pub(crate) async fn migrator(&self) -> Result<Option<SharedMigrator>, SettingsError> {
        self.migrations
            .migrator()
            .await
            .map_err(|reason| SettingsError::Migrations {
                engine: self.engine.clone(),
                migrations: self.describe("migrations"),
                reason,
            })
    }

    fn shown(&self, setting: &str) -> Option<&Shown> {
        self.shown.iter().find(|shown| shown.name == setting)
    }
}

impl fmt::Debug for EngineSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EngineSettings ")?;
        f.debug_list().entries(&self.shown).finish()
    }
}

/// Checked when compiled.
const TEN: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// Reads settings out of the layers and notes how each is shown.
struct Reader<'a> {
    layers: &'a Layers,
    shown: Vec<Shown>,
}

impl Reader<'_> {
    /// The value of a setting or its default.
    fn or<T: Form>(&mut self, name: &'static str, default: T) -> Result<T, SettingsError> {
        let (value, source) = self
            .layers
            .get(name)?
            .unwrap_or_else(|| (default, Source::default_value()));
        self.shown.push(Shown {
            name,
            value: value.show(),
            source,
        });
        Ok(value)
    }

    /// The value of a setting that has no default.
    fn maybe<T: Form>(&mut self, name: &'static str) -> Result<Option<T>, SettingsError> {
        let Some((value, source)) = self.layers.get::<T>(name)? else {
            self.shown.push(Shown {
                name,
                value: "not set".to_owned(),
                source: Source::default_value(),
            });
            return Ok(None);
        };
        self.shown.push(Shown {
            name,
            value: value.show(),
            source,
        });
        Ok(Some(value))
    }

    fn url(&mut self) -> Result<DatabaseUrl, SettingsError> {
        let Some((written, source)) = self.layers.get::<String>("url")? else {
            return Err(self.no_url());
        };
        let url = DatabaseUrl::parse(&written).map_err(|reason| SettingsError::MalformedUrl {
            engine: self.layers.engine.clone(),
            url: url::redact(&written),
            origin: source.to_string(),
            reason,
        })?;
        self.shown.push(Shown {
            name: "url",
            value: url.to_string(),
            source,
        });
        Ok(url)
    }

    fn migrations(&mut self) -> Result<Migrations, SettingsError> {
        let name = "migrations";
        let (migrations, source) = match self.layers.raw(name) {
            None => (Migrations::None, Source::default_value()),
            // The code gave something that is not text, and nothing stronger spoke.
            Some((Value::Empty(..), source)) => (self.layers.code_migrations.clone(), source),
            Some(_) => match self.layers.get::<String>(name)? {
                Some((path, source)) => (Migrations::Directory(self.directory(&path)), source),
                None => (Migrations::None, Source::default_value()),
            },
        };
        self.shown.push(Shown {
            name,
            value: migrations.to_string(),
            source,
        });
        Ok(migrations)
    }

    fn directory(&self, written: &str) -> PathBuf {
        self.layers.surroundings.path(written)
    }

    /// Says everywhere that was looked at; an engine that nothing knows of is probably misspelt.
    fn no_url(&self) -> SettingsError {
        let Layers {
            engine,
            url_variable,
            environment,
            file,
            surroundings,
            ..
        } = self.layers;
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
            engine,
            environment,
            file,
            ..
        } = self.layers;
        let mut known: BTreeSet<String> = environment.engines().collect();
        known.extend(
            file.iter()
                .flat_map(super::file::File::engines)
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
