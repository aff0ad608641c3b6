//! The setters: one for each setting of the [table](super::table), except those in `servers`.

use std::any::Any;
use std::borrow::Borrow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::Migrator;

use super::Settings;
use super::fixtures::Fixture;
use super::form::LONGEST;
use super::migrations::{Migrations, SharedMigrator};
use super::words::{IntoWord, LogLevel, QuerySpans, RuntimeFlavor, TestIsolation};

/// A length of time: a [`Duration`], or text with a unit such as `"30s"`, `"500ms"`, `"1m 30s"` (see
/// [`humantime::parse_duration`](https://docs.rs/humantime/latest/humantime/fn.parse_duration.html)).
///
/// Times above a hundred years count as a hundred years.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a duration",
    label = "expected a `Duration`, or text with a unit such as `\"30s\"`"
)]
pub trait IntoDuration: sealed::Sealed {
    /// The duration as text, in the form the file takes.
    #[doc(hidden)]
    fn into_text(self) -> String;
}

#[diagnostic::do_not_recommend]
impl IntoDuration for Duration {
    fn into_text(self) -> String {
        // Reading has the same limit, but not every longer duration can be formatted and parsed again.
        humantime::format_duration(self.min(LONGEST)).to_string()
    }
}

#[diagnostic::do_not_recommend]
impl IntoDuration for &str {
    fn into_text(self) -> String {
        self.to_owned()
    }
}

#[diagnostic::do_not_recommend]
impl IntoDuration for String {
    fn into_text(self) -> String {
        self
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for std::time::Duration {}
    impl Sealed for &str {}
    impl Sealed for String {}
}

/// Which engine, and where it is.
impl Settings {
    /// The engine's name. Default: `default`. In code only, because the name selects the file's section and the
    /// variables.
    #[track_caller]
    #[must_use]
    pub fn engine(self, name: impl Into<String>) -> Self {
        self.set("engine", name.into())
    }

    /// The URL of the database: any that sqlx accepts. The driver gets its query parameters, for a server only those it knows.
    ///
    /// In the environment the variable is `DATABASE_URL`, or the one that [`env`](Self::env) names.
    #[track_caller]
    #[must_use]
    pub fn url(self, url: impl Into<String>) -> Self {
        self.set("url", url.into())
    }

    /// The environment variable that holds the URL. Default: `DATABASE_URL`, and `REPORTS_DATABASE_URL` for the engine
    /// `reports`. In code and in the file only.
    #[track_caller]
    #[must_use]
    pub fn env(self, variable: impl Into<String>) -> Self {
        self.set("env", variable.into())
    }
}

/// The pool.
impl Settings {
    /// The most connections the pool has open at a time, from 1 to 262143. Default: 10.
    #[track_caller]
    #[must_use]
    pub fn max_size(self, connections: u32) -> Self {
        self.set("max_size", connections)
    }

    /// Connections that are kept open even when idle; the pool opens them at start. At most
    /// [`max_size`](Self::max_size). Default: 0.
    #[track_caller]
    #[must_use]
    pub fn min_size(self, connections: u32) -> Self {
        self.set("min_size", connections)
    }

    /// The longest wait for a checkout, above zero. Default: 30 seconds.
    #[track_caller]
    #[must_use]
    pub fn acquire_timeout(self, limit: impl IntoDuration) -> Self {
        self.set("acquire_timeout", limit.into_text())
    }

    /// The longest time that one attempt to connect takes, above zero. Default: 10 seconds.
    #[track_caller]
    #[must_use]
    pub fn connect_timeout(self, limit: impl IntoDuration) -> Self {
        self.set("connect_timeout", limit.into_text())
    }

    /// How long a start retries while the server is unreachable or full, above zero. Default: 30 seconds.
    #[track_caller]
    #[must_use]
    pub fn start_timeout(self, limit: impl IntoDuration) -> Self {
        self.set("start_timeout", limit.into_text())
    }

    /// A connection that was idle for longer is closed; `"off"` keeps it. Default: 10 minutes.
    #[track_caller]
    #[must_use]
    pub fn idle_timeout(self, limit: impl IntoDuration) -> Self {
        self.set("idle_timeout", limit.into_text())
    }

    /// A connection that is older is replaced when it is returned; `"off"` keeps it. Default: 30 minutes.
    #[track_caller]
    #[must_use]
    pub fn max_lifetime(self, limit: impl IntoDuration) -> Self {
        self.set("max_lifetime", limit.into_text())
    }

    /// A connection whose last answer is older is pinged before it is handed out; zero pings always. Default: 500 ms.
    #[track_caller]
    #[must_use]
    pub fn validate_after(self, idle: impl IntoDuration) -> Self {
        self.set("validate_after", idle.into_text())
    }

    /// A checkout that is held for longer is logged as a warning, with the location that took it. Default: `"off"`.
    #[track_caller]
    #[must_use]
    pub fn leak_after(self, held: impl IntoDuration) -> Self {
        self.set("leak_after", held.into_text())
    }

    /// How long a close waits for checkouts before it ends them; zero ends them at once. Default: 5 seconds.
    #[track_caller]
    #[must_use]
    pub fn close_timeout(self, limit: impl IntoDuration) -> Self {
        self.set("close_timeout", limit.into_text())
    }

    /// Connects at the first checkout instead of at start, unless there are migrations or extensions to run. Default: false.
    #[track_caller]
    #[must_use]
    pub fn lazy(self, lazy: bool) -> Self {
        self.set("lazy", lazy)
    }
}

/// The connections.
impl Settings {
    /// The most prepared statements that a connection keeps. Default: 100. Zero keeps none, but one on Postgres, whose
    /// driver never closes a statement that it does not keep. Behind a pooler they are kept for a transaction. A
    /// `statement-cache-capacity` in the URL overrides this setting.
    #[track_caller]
    #[must_use]
    pub fn statement_cache(self, statements: u32) -> Self {
        self.set("statement_cache", statements)
    }

    /// The name the server shows for our connections. Default: on Postgres the environment variable `PGAPPNAME` if it is set,
    /// else the name of the crate that bears the attribute. A name in the URL overrides this setting.
    #[track_caller]
    #[must_use]
    pub fn application_name(self, name: impl Into<String>) -> Self {
        self.set("application_name", name.into())
    }

    /// SQL that is run on every new connection. Default: none. Logs and errors show its first word only.
    #[track_caller]
    #[must_use]
    pub fn session(self, sql: impl Into<String>) -> Self {
        self.set("session", sql.into())
    }

    /// Changes the driver's own connect options, after the URL and the settings were applied. In code only.
    ///
    /// Functions for several drivers may be given; the engine calls the one for its own driver. Of several for one
    /// driver, the last one counts.
    ///
    /// A statement cache of zero becomes one of one statement on Postgres, as with [`statement_cache`](Self::statement_cache).
    /// In a test with a database of its own, a function that returns options with another database is an error.
    #[track_caller]
    #[must_use]
    pub fn connect_with<O: 'static>(self, change: impl Fn(O) -> O + Send + Sync + 'static) -> Self {
        self.add_connect(change)
    }

    /// Postgres extensions that are created at start when they are missing. Default: none.
    #[track_caller]
    #[must_use]
    pub fn extensions<N: Into<String>>(self, names: impl IntoIterator<Item = N>) -> Self {
        self.set(
            "extensions",
            names.into_iter().map(Into::into).collect::<Vec<String>>(),
        )
    }

    /// The level at which each statement is logged: a [`LogLevel`], or `"off"` (default), `"error"`, `"warn"`, `"info"`,
    /// `"debug"` or `"trace"`.
    #[track_caller]
    #[must_use]
    pub fn log_queries(self, level: impl IntoWord<LogLevel>) -> Self {
        self.set("log_queries", level.into_text())
    }

    /// The level of a span for each statement, wait and transaction, with OpenTelemetry's names: a [`QuerySpans`], or
    /// `"off"` (default), `"debug"` or `"info"`. Spans hold the text of a statement, and never the values of its
    /// parameters.
    #[track_caller]
    #[must_use]
    pub fn query_spans(self, level: impl IntoWord<QuerySpans>) -> Self {
        self.set("query_spans", level.into_text())
    }

    /// A statement that takes longer is logged as a warning. Default: 1 second.
    #[track_caller]
    #[must_use]
    pub fn slow_query(self, threshold: impl IntoDuration) -> Self {
        self.set("slow_query", threshold.into_text())
    }
}

/// The migrations. Of several, the last one counts.
impl Settings {
    /// A directory of migrations that is read and run at start. Default: none.
    ///
    /// A relative path starts at the working directory; in the file, at the file's own directory. In the attribute, a
    /// literal directory is embedded into the program instead, and starts at the crate's directory.
    #[track_caller]
    #[must_use]
    pub fn migrations(self, directory: impl Into<PathBuf>) -> Self {
        self.set(
            "migrations",
            directory.into().to_string_lossy().into_owned(),
        )
    }

    /// Migrations that were read when the program was compiled: names of files and their contents.
    #[doc(hidden)]
    #[track_caller]
    #[must_use]
    pub fn embedded_migrations(
        self,
        directory: &'static str,
        files: &'static [(&'static str, &'static str)],
    ) -> Self {
        self.set_migrations(Migrations::Embedded { directory, files })
    }

    /// No migrations, also where the file or the crate's `./migrations` would give some.
    #[doc(hidden)]
    #[track_caller]
    #[must_use]
    pub fn no_migrations(self) -> Self {
        self.set_migrations(Migrations::None)
    }

    /// A [`Migrator`], owned or `&'static`, that is run at start. In code only.
    #[track_caller]
    #[must_use]
    pub fn migrator(self, migrator: impl Borrow<Migrator> + Send + Sync + 'static) -> Self {
        self.set_migrations(Migrations::Migrator(SharedMigrator::new(migrator)))
    }
}

/// The database of a test function.
impl Settings {
    /// The database of a test function: a [`TestIsolation`], or `"database"` (default), `"rollback"` or `"none"`. No
    /// effect elsewhere.
    #[track_caller]
    #[must_use]
    pub fn isolation(self, isolation: impl IntoWord<TestIsolation>) -> Self {
        self.set("isolation", isolation.into_text())
    }

    /// A file of SQL that was read when the test was compiled: its name and its content.
    #[doc(hidden)]
    #[track_caller]
    #[must_use]
    pub fn embedded_fixture(self, name: &'static str, sql: &'static str) -> Self {
        self.add_fixture(Fixture::Script { name, sql })
    }

    /// A function that fills the database of one test; only `testing` can call it.
    #[cfg_attr(
        not(feature = "testing"),
        allow(dead_code, reason = "tests alone use it")
    )]
    #[track_caller]
    pub(crate) fn fixture_function(
        self,
        name: &'static str,
        fill: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        self.add_fixture(Fixture::Function { name, fill })
    }
}

/// The program around the engine.
impl Settings {
    /// How long the body may run on after a signal, once `drain_delay` is over. Default: 20 seconds.
    #[track_caller]
    #[must_use]
    pub fn shutdown_timeout(self, limit: impl IntoDuration) -> Self {
        self.set("shutdown_timeout", limit.into_text())
    }

    /// How long a program continues to serve after a signal. [`readiness`](crate::Engine::readiness) is `Draining` from
    /// the signal on, so that load balancers learn of it before the program stops accepting. Default: zero.
    #[track_caller]
    #[must_use]
    pub fn drain_delay(self, delay: impl IntoDuration) -> Self {
        self.set("drain_delay", delay.into_text())
    }

    /// Listens for SIGINT and SIGTERM. Default: true on `main`, false elsewhere, and false on a `main` under the runtime
    /// attribute of a framework that listens itself (actix-web, ntex, Rocket), unless it takes [`Shutdown`](crate::Shutdown).
    #[track_caller]
    #[must_use]
    pub fn signals(self, listen: bool) -> Self {
        self.set("signals", listen)
    }

    /// The kind of runtime that poolhouse builds: a [`RuntimeFlavor`], or `"multi_thread"` (default) or
    /// `"current_thread"`.
    #[track_caller]
    #[must_use]
    pub fn flavor(self, flavor: impl IntoWord<RuntimeFlavor>) -> Self {
        self.set("flavor", flavor.into_text())
    }

    /// The threads of a multi-threaded runtime that poolhouse builds, from 1 to 1024. Default: one for each core, as in
    /// tokio.
    #[track_caller]
    #[must_use]
    pub fn worker_threads(self, threads: usize) -> Self {
        self.set("worker_threads", threads)
    }
}
