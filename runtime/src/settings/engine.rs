//! The settings of one engine, complete and valid.

use std::any::Any;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use sqlx::migrate::Migration;

use super::builder::Settings;
use super::connect::{ConnectHook, Prepare};
use super::error::SettingsError;
use super::fixtures::Fixtures;
use super::form::{Connections, OptionalLimit, Positive, SessionSql};
use super::held::HeldTransactions;
use super::layers::Layers;
use super::migrations::{Migrations, SharedMigrator};
use super::read::{Reader, Shown};
use super::secrets;
#[cfg(test)]
use super::sources::Source;
use super::sources::Sources;
use super::url::DatabaseUrl;
use super::words::{LogLevel, Pooler, QuerySpans, TestIsolation};

/// The default of `max_size`.
const TEN: u32 = 10;

/// The default of `max_size` in tests. Many run side by side on one server; a test that needs more can set more.
const FIVE: u32 = 5;

/// The default of `close_timeout`: the time for checkouts that outlast the body. `shutdown_timeout` limits the body.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The settings of the engine that `code` names, from all sources of this process.
///
/// # Errors
///
/// As [`EngineSettings::read`], or a file that cannot be read.
pub(crate) fn resolve(code: &Settings) -> Result<EngineSettings, SettingsError> {
    let layers = Layers::collect(code, &Sources::of_process()?, None)?;
    EngineSettings::read(&layers, None)
}

/// Open connections for an engine to borrow. Only the pool and tests know their type.
pub(crate) type BorrowedByAny = Arc<dyn Any + Send + Sync>;

/// A test's lease on its database, as the test's connections check it.
pub(crate) trait LeaseCheck: Send + Sync {
    /// Fails when the database may have lost data of the test, or may be leased to another process.
    fn check(&self) -> BoxFuture<'_, sqlx::Result<()>>;
}

/// The database file of a test on SQLite.
#[derive(Clone)]
#[cfg_attr(
    not(feature = "sqlite"),
    allow(dead_code, reason = "only SQLite has files")
)]
pub(crate) struct TestFile {
    pub(crate) path: PathBuf,
    /// Whether the file is on a disk, and not on a file system in memory.
    pub(crate) is_on_disk: bool,
}

/// All settings that an engine needs to start its pool. The fields are the settings of the same names.
#[derive(Clone)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a setting, or a fact about the start, of its own"
)]
pub(crate) struct EngineSettings {
    /// The engine's name; for a node, `engine/node`.
    pub(crate) engine: String,
    /// The nodes, each with its name and its settings. `None` stands for the engine's own database, in a test with an
    /// isolated one.
    pub(crate) nodes: Vec<(String, Option<EngineSettings>)>,
    pub(crate) url: DatabaseUrl,
    /// The URL past a pooler.
    pub(crate) direct_url: Option<DatabaseUrl>,
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
    pub(crate) pooler: Option<Pooler>,
    pub(crate) extensions: Vec<String>,
    pub(crate) log_queries: LogLevel,
    pub(crate) query_spans: QuerySpans,
    pub(crate) slow_query: Duration,
    pub(crate) migrations: Migrations,
    /// Tests only.
    pub(crate) isolation: TestIsolation,
    /// Tests only.
    #[cfg_attr(
        not(feature = "testing"),
        allow(dead_code, reason = "tests alone use it")
    )]
    pub(crate) fixtures: Fixtures,
    /// The variable of the URL, set or not.
    #[cfg(all(feature = "ephemeral", any(feature = "postgres", feature = "mysql")))]
    pub(crate) url_variable: String,
    /// Whether each connection is to a database of tests, which `connect_with` and `before_connect` must keep.
    pub(crate) keeps_database: bool,
    /// Whether the URL names a test's own database.
    pub(crate) isolated: bool,
    /// Whether the start fills a database of which tests get copies.
    pub(crate) fills_template: bool,
    /// Whether the URL is that of `direct_url`. It may lead to a port of the pooler that keeps sessions apart.
    pub(crate) is_past_pooler: bool,
    /// The state of the transactions in which every connection stays until it ends; `None` when connections stay in none.
    pub(crate) held_transactions: Option<Arc<HeldTransactions>>,
    /// Whether a start makes only one attempt to connect, as for a node, which no start waits for.
    pub(crate) tries_once: bool,
    /// Open connections that a test borrows.
    pub(crate) borrowed: Option<BorrowedByAny>,
    /// The lease that a new connection to a test's own database checks first, if the database is on a server.
    pub(crate) lease: Option<Arc<dyn LeaseCheck>>,
    /// The file of a test's own database, if the database is a file.
    pub(crate) file: Option<TestFile>,
    pub(super) connect: Vec<ConnectHook>,
    pub(super) before: Vec<ConnectHook>,
    pub(super) shown: Vec<Shown>,
}

impl EngineSettings {
    /// Reads the settings of the engine of these layers. In a test without a URL, `test_url` is used if there is one.
    pub(crate) fn read(
        layers: &Layers,
        test_url: Option<&'static str>,
    ) -> Result<Self, SettingsError> {
        Self::read_boxed(layers, test_url).map_err(|error| *error)
    }

    /// Reads every setting from the layers and checks those that depend on each other.
    fn read_boxed(
        layers: &Layers,
        test_url: Option<&'static str>,
    ) -> Result<Self, Box<SettingsError>> {
        // In a test the environment sets only the URLs, and every test would search its variables again.
        if layers.in_test.is_none() {
            for warning in layers.without_effect() {
                crate::logging::warn!(engine = layers.engine, "{warning}");
            }
        }
        let (seconds, minutes) = (Duration::from_secs, Duration::from_mins);
        let mut read = Reader {
            layers,
            shown: vec![],
        };
        let url = read.url(test_url.filter(|_| layers.in_test.is_some()))?;
        let most = if layers.in_test.is_some() { FIVE } else { TEN };
        let mut settings = Self {
            engine: layers.name(),
            nodes: vec![],
            url,
            direct_url: read.direct_url()?,
            max_size: read.or("max_size", Connections::<1>(most))?.0,
            min_size: read.or("min_size", Connections::<0>(0))?.0,
            acquire_timeout: read.or("acquire_timeout", Positive(seconds(30)))?.0,
            connect_timeout: read.or("connect_timeout", Positive(seconds(10)))?.0,
            start_timeout: read.or("start_timeout", Positive(seconds(30)))?.0,
            idle_timeout: read.or("idle_timeout", OptionalLimit(Some(minutes(10))))?.0,
            max_lifetime: read.or("max_lifetime", OptionalLimit(Some(minutes(30))))?.0,
            validate_after: read.or("validate_after", Duration::from_millis(500))?,
            leak_after: read.or("leak_after", OptionalLimit(None))?.0,
            close_timeout: read.or("close_timeout", CLOSE_TIMEOUT)?,
            lazy: read.or("lazy", false)?,
            statement_cache: read.or("statement_cache", 100)?,
            application_name: read.maybe("application_name")?,
            session: read.maybe("session")?.and_then(SessionSql::sql),
            pooler: read.maybe("pooler")?,
            extensions: read.or("extensions", vec![])?,
            log_queries: read.or("log_queries", LogLevel::Off)?,
            query_spans: read.or("query_spans", QuerySpans::Off)?,
            slow_query: read.or("slow_query", seconds(1))?,
            migrations: read.migrations()?,
            isolation: read.or("isolation", TestIsolation::Database)?,
            fixtures: read.fixtures(),
            #[cfg(all(feature = "ephemeral", any(feature = "postgres", feature = "mysql")))]
            url_variable: layers.url_variable.clone(),
            keeps_database: false,
            isolated: false,
            fills_template: false,
            is_past_pooler: false,
            held_transactions: None,
            tries_once: false,
            borrowed: None,
            lease: None,
            file: None,
            connect: layers.connect.clone(),
            before: layers.before.clone(),
            shown: read.shown,
        };
        settings.keeps_database =
            layers.in_test.is_some() && settings.isolation != TestIsolation::None;
        if settings.isolation == TestIsolation::None && settings.is_default("migrations") {
            // The test gets the configured database as it is.
            settings.migrations = Migrations::None;
        }
        if layers.node.is_some() {
            settings.migrations = Migrations::None;
        } else {
            for node in layers.nodes() {
                let of_node = if settings.keeps_database {
                    None
                } else {
                    Some(Self::read_boxed(&layers.of_node(&node)?, None)?)
                };
                settings.nodes.push((node, of_node));
            }
        }
        settings.check_pooler(layers.in_test.is_some())?;
        if settings.keeps_database {
            settings = settings.past_the_pooler().unwrap_or(settings);
        }
        if layers.in_test.is_some() && settings.is_default("max_size") {
            settings.limit_min_size();
        }
        if settings.min_size > settings.max_size {
            return Err(SettingsError::MinAboveMax {
                min_size: settings.describe("min_size"),
                max_size: settings.describe("max_size"),
                engine: settings.engine,
            }
            .into());
        }
        Ok(settings)
    }

    /// Limits a `min_size` that the test does not set itself to the `max_size` of tests.
    fn limit_min_size(&mut self) {
        let (min, max) = (self.min_size, self.max_size);
        let mut shown = self.shown.iter_mut();
        let shown = shown.find(|shown| shown.name == "min_size" && !shown.source.is_code());
        if let Some(shown) = shown.filter(|_| min > max) {
            self.min_size = max;
            shown.replace(move || format!("{max}, because max_size = {max}"));
        }
    }

    /// Points the settings to a test's own database, which has its migrations and extensions already.
    #[cfg(feature = "testing")]
    pub(crate) fn isolate(
        &mut self,
        url: DatabaseUrl,
        file: Option<TestFile>,
        borrowed: Option<BorrowedByAny>,
        lease: Option<Arc<dyn LeaseCheck>>,
    ) {
        self.move_to(url);
        self.file = file;
        self.borrowed = borrowed;
        self.lease = lease;
        self.migrations = Migrations::None;
        self.extensions = vec![];
        self.isolated = true;
        self.held_transactions = (self.isolation == TestIsolation::Rollback).then(Arc::default);
    }

    /// Replaces the URL, and the URL that is shown.
    pub(crate) fn move_to(&mut self, url: DatabaseUrl) {
        if let Some(shown) = self.shown.iter_mut().find(|shown| shown.name == "url") {
            let url = url.clone();
            shown.replace(move || url.to_string());
        }
        self.url = url;
    }

    /// Limits the pool to one connection: a second one would not see the writes of the first.
    #[cfg(feature = "testing")]
    pub(crate) fn only_one_connection(&mut self) {
        self.max_size = 1;
        self.min_size = self.min_size.min(1);
        // The connection lasts as long as the test, because its transaction ends with it.
        self.max_lifetime = None;
        self.idle_timeout = None;
        if let Some(shown) = self.shown.iter_mut().find(|shown| shown.name == "max_size") {
            shown.replace(|| "1, because isolation = rollback".to_owned());
        }
    }

    /// The number of transactions that an idle connection is in.
    pub(crate) fn idle_depth(&self) -> usize {
        usize::from(self.held_transactions.is_some())
    }

    /// A message of a server or a driver without the secrets of these settings; `None` when it holds none.
    pub(crate) fn without_secrets(&self, message: &str) -> Option<String> {
        let urls = [Some(&self.url), self.direct_url.as_ref()];
        let mut secrets: Vec<String> = urls
            .into_iter()
            .flatten()
            .flat_map(|url| secrets::secrets_of(url.expose()))
            .collect();
        if let Some(sql) = &self.session {
            secrets.extend(secrets::literals_of(sql));
        }
        secrets::without(message, &secrets)
    }

    /// The source of a setting's value.
    #[cfg(test)]
    pub(super) fn source(&self, setting: &str) -> Source {
        self.shown(setting)
            .map_or(Source::Default, |shown| shown.source.clone())
    }

    /// A setting for logs and errors: `max_size = 20 (attribute, src/main.rs:7)`.
    pub(crate) fn describe(&self, setting: &str) -> String {
        self.shown(setting)
            .map_or_else(|| format!("{setting} (default)"), Shown::to_string)
    }

    /// The settings that a source sets, as [`describe`](Self::describe) shows them.
    pub(crate) fn changed(&self) -> impl Iterator<Item = String> {
        self.shown
            .iter()
            .filter(|shown| !shown.source.is_default())
            .map(Shown::to_string)
    }

    /// Applies the last function given to `connect_with` for the driver's options.
    pub(crate) fn connect_with<O: 'static>(&self, options: O) -> Result<O, SettingsError> {
        let Some(last) = self.connect.last() else {
            return Ok(options);
        };
        match self.connect.iter().rev().find_map(ConnectHook::change::<O>) {
            Some(change) => Ok(change(options)),
            None => Err(self.wrong_driver::<O>("connect_with", last)),
        }
    }

    /// The source of the function that [`connect_with`](Self::connect_with) applies, if there is one.
    pub(crate) fn connect_source<O: 'static>(&self) -> Option<String> {
        let mut hooks = self.connect.iter().rev();
        let applied = hooks.find(|hook| hook.change::<O>().is_some());
        applied.map(|hook| hook.source.to_string())
    }

    /// The last function given to `before_connect` for the driver's options, and its source.
    pub(crate) fn before_connect<O: 'static>(
        &self,
    ) -> Result<Option<(Prepare<O>, String)>, SettingsError> {
        let found = self.last_before::<O>()?;
        Ok(found.map(|(hook, prepare)| (prepare, hook.source.to_string())))
    }

    /// The type of the function that [`before_connect`](Self::before_connect) gives.
    #[cfg(feature = "testing")]
    pub(crate) fn before_connect_type<O: 'static>(
        &self,
    ) -> Result<Option<std::any::TypeId>, SettingsError> {
        let found = self.last_before::<O>()?;
        Ok(found.map(|(hook, _)| hook.function()))
    }

    fn last_before<O: 'static>(&self) -> Result<Option<(&ConnectHook, Prepare<O>)>, SettingsError> {
        let Some(last) = self.before.last() else {
            return Ok(None);
        };
        let mut hooks = self.before.iter().rev();
        match hooks.find_map(|hook| Some((hook, hook.prepare::<O>()?))) {
            Some(found) => Ok(Some(found)),
            None => Err(self.wrong_driver::<O>("before_connect", last)),
        }
    }

    /// The same settings without functions over the connect options `O`.
    #[cfg(all(feature = "testing", feature = "any"))]
    pub(crate) fn without_functions_over<O: 'static>(self: &Arc<Self>) -> Arc<Self> {
        let is_kept =
            |hook: &ConnectHook| hook.change::<O>().is_none() && hook.prepare::<O>().is_none();
        if self.connect.iter().chain(&self.before).all(is_kept) {
            return Arc::clone(self);
        }
        let mut settings = Self::clone(self);
        settings.connect.retain(is_kept);
        settings.before.retain(is_kept);
        Arc::new(settings)
    }

    fn wrong_driver<O>(&self, setting: &'static str, hook: &ConnectHook) -> SettingsError {
        SettingsError::ConnectWith {
            engine: self.engine.clone(),
            setting,
            origin: hook.source.to_string(),
            given: hook.options,
            wanted: std::any::type_name::<O>(),
        }
    }

    /// The migrations in the driver's own form; `None` when there are none to run. A directory is read here.
    pub(crate) async fn migrator(&self) -> Result<Option<SharedMigrator>, SettingsError> {
        self.migrations
            .migrator()
            .await
            .map_err(|reason| SettingsError::Migrations {
                engine: self.engine.clone(),
                migrations: self.describe("migrations"),
                reason: secrets::conceal(&reason).into_owned(),
            })
    }

    /// The file of a migration; its likely name when the file is not known.
    pub(crate) fn migration_file(&self, migration: &Migration) -> String {
        self.migrations.file_of(migration)
    }

    pub(crate) fn is_default(&self, setting: &str) -> bool {
        self.shown(setting)
            .is_none_or(|shown| shown.source.is_default())
    }

    pub(super) fn shown(&self, setting: &str) -> Option<&Shown> {
        self.shown.iter().find(|shown| shown.name == setting)
    }
}

impl fmt::Debug for EngineSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EngineSettings ")?;
        f.debug_list().entries(&self.shown).finish()
    }
}
