//! The second stage: keys become settings of the table, values become values of the right kind.

mod fixtures;
mod literal;
mod migrations;
mod names;
mod value;

pub(crate) use fixtures::Fixture;
pub(crate) use migrations::Directory;
pub(crate) use value::Value;

use crate::args::Arg;
use crate::report::Report;
use Reach::{Crate, Engine, Lifecycle, Runtime, Test};
use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{Ident, Path};
use value::Kind::{
    self, Choice, Count, CratePath, Duration, Fixtures, Flag, Function, Limit, Migrations,
    Migrator, Text, Texts, Url, Variable,
};

/// One row of the table: what a setting is called, what it takes, and where it may stand.
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    kind: Kind,
    pub(crate) reach: Reach,
    /// A value as a user would write it, for the messages.
    example: &'static str,
}

/// What a setting is about; this decides where it may stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// One engine: on the attribute and on `#[pool(…)]`.
    Engine,
    /// One engine of a test: on the attribute and on `#[pool(…)]`, above a test function.
    Test,
    /// The whole run, from start to close: on the attribute.
    Lifecycle,
    /// The tokio runtime: on the attribute, where poolhouse builds the runtime.
    Runtime,
    /// The expansion itself: on the attribute.
    Crate,
}

/// Every setting, in the order of the documentation. A new one is one more row.
#[rustfmt::skip]
pub(crate) const TABLE: &[Spec] = &[
    row("engine",           Text,                                Engine,    "\"reports\""),
    row("url",              Url,                                 Engine,    "\"postgres://localhost/bands\""),
    row("env",              Variable,                            Engine,    "\"BANDS_URL\""),
    row("direct_url",       Url,                                 Engine,    "\"postgres://server/bands\""),
    row("max_size",         Count { least: 1, of: "u32" },       Engine,    "20"),
    row("min_size",         Count { least: 0, of: "u32" },       Engine,    "2"),
    row("acquire_timeout",  Duration,                            Engine,    "\"30s\""),
    row("connect_timeout",  Duration,                            Engine,    "\"10s\""),
    row("start_timeout",    Duration,                            Engine,    "\"30s\""),
    row("idle_timeout",     Limit,                               Engine,    "\"10m\""),
    row("max_lifetime",     Limit,                               Engine,    "\"30m\""),
    row("validate_after",   Duration,                            Engine,    "\"500ms\""),
    row("leak_after",       Limit,                               Engine,    "\"1m\""),
    row("close_timeout",    Duration,                            Engine,    "\"10s\""),
    row("shutdown_timeout", Duration,                            Lifecycle, "\"30s\""),
    row("signals",          Flag,                                Lifecycle, "false"),
    row("lazy",             Flag,                                Engine,    "true"),
    row("statement_cache",  Count { least: 0, of: "u32" },       Engine,    "100"),
    row("application_name", Text,                                Engine,    "\"bands\""),
    row("session",          Text,                                Engine,    "\"SET TIME ZONE 'UTC'\""),
    row("connect_with",     Function,                            Engine,    "tune"),
    row("before_connect",   Function,                            Engine,    "fetch_token"),
    row("pooler",           Choice(&["pgbouncer"]),              Engine,    "\"pgbouncer\""),
    row("extensions",       Texts,                               Engine,    "[\"citext\"]"),
    row("log_queries",      Choice(&["off", "error", "warn", "info", "debug", "trace"]), Engine, "\"debug\""),
    row("slow_query",       Duration,                            Engine,    "\"1s\""),
    row("migrations",       Migrations,                          Engine,    "\"migrations\""),
    row("migrator",         Migrator,                            Engine,    "MIGRATOR"),
    row("isolation",        Choice(&["database", "rollback", "none"]), Test, "\"rollback\""),
    row("fixtures",         Fixtures,                            Test,      "(\"bands\")"),
    row("flavor",           Choice(&["multi_thread", "current_thread"]), Runtime, "\"current_thread\""),
    row("worker_threads",   Count { least: 1, of: "usize" },     Runtime,   "4"),
    row("crate",            CratePath,                           Crate,     "::poolhouse"),
];

const fn row(name: &'static str, kind: Kind, reach: Reach, example: &'static str) -> Spec {
    Spec {
        name,
        kind,
        reach,
        example,
    }
}

/// Two settings that cannot stand together, and why.
const RIVALS: &[(&str, &str, &str)] = &[
    (
        "url",
        "env",
        "the URL is either written here or read from a variable",
    ),
    (
        "migrations",
        "migrator",
        "the migrations come either from a directory or from a `Migrator`",
    ),
    (
        "session",
        "pooler",
        "behind a pooler the next statement may be in another session of the server",
    ),
];

/// A setting whose name is known and whose value is of the right kind.
pub(crate) struct Setting {
    /// The user's own token: the generated call carries its place.
    pub(crate) key: Ident,
    pub(crate) spec: &'static Spec,
    pub(crate) value: Value,
}

/// The settings of one attribute, each at most once, as written.
#[derive(Default)]
pub(crate) struct Settings {
    pub(crate) list: Vec<Setting>,
}

/// Which attribute the settings stand on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    /// `#[with_pool(…)]`
    Function,
    /// `#[pool(…)]`
    Parameter,
}

impl On {
    fn admits(self, spec: &Spec) -> bool {
        self == On::Function || matches!(spec.reach, Engine | Test)
    }
}

impl Settings {
    /// Looks every key up and checks every value; what is wrong is reported and left out.
    pub(crate) fn check(args: Vec<Arg>, on: On, report: &mut Report) -> Settings {
        let mut settings = Settings::default();
        let mut seen: Vec<&str> = Vec::new();
        for Arg { key, value } in args {
            let Some(spec) = TABLE.iter().find(|spec| key == spec.name) else {
                report.mistake(&key, names::unknown(&key.to_string(), on));
                continue;
            };
            if seen.contains(&spec.name) {
                report.mistake(&key, format!("`{key}` is set twice; keep one of the two"));
                continue;
            }
            seen.push(spec.name);
            if !on.admits(spec) {
                let message = format!(
                    "`{key}` is not a setting of one engine; write it in `#[with_pool({key} = …)]`"
                );
                report.mistake(&key, message);
                continue;
            }
            if let Some(value) = report.keep(spec.kind.check(spec, &key, value)) {
                settings.list.push(Setting { key, spec, value });
            }
        }
        settings.check_together(report);
        settings
    }

    /// The path that `crate` names.
    pub(crate) fn runtime_crate(&self) -> Option<&Path> {
        self.list.iter().find_map(|setting| match &setting.value {
            Value::CratePath(path) => Some(path),
            _ => None,
        })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Setting> {
        self.list.iter().find(|setting| setting.spec.name == name)
    }

    /// The place of a mistake that two settings make together: from the one written first to the other.
    fn both(&self, names: [&str; 2]) -> TokenStream {
        let keys = self
            .list
            .iter()
            .filter(|setting| names.contains(&setting.spec.name));
        keys.map(|setting| setting.key.to_token_stream()).collect()
    }

    fn check_together(&self, report: &mut Report) {
        for &(one, other, why) in RIVALS {
            if self.get(one).is_some() && self.get(other).is_some() {
                report.mistake(
                    self.both([one, other]),
                    format!("`{one}` and `{other}` are both set, but {why}"),
                );
            }
        }
        self.check_sizes(report);
        self.check_runtime(report);
    }

    fn check_sizes(&self, report: &mut Report) {
        let number = |name| match self.get(name)?.value {
            Value::Number(number, _) => Some(number),
            _ => None,
        };
        if let (Some(min), Some(max)) = (number("min_size"), number("max_size"))
            && min > max
        {
            let message = format!("`min_size = {min}` is more than `max_size = {max}`");
            report.mistake(self.both(["min_size", "max_size"]), message);
        }
    }

    /// Threads that tokio would not start.
    fn check_runtime(&self, report: &mut Report) {
        if let (Some(threads), Some(flavor)) = (self.get("worker_threads"), self.get("flavor"))
            && matches!(&flavor.value, Value::Text(flavor, _) if flavor == "current_thread")
        {
            let message = "`worker_threads` needs `flavor = \"multi_thread\"`: a current-thread runtime has no workers";
            report.mistake(&threads.key, message);
        }
    }
}
