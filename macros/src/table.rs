// The table of settings, and the names that other pools have for them.
//
// Both crates read this file: here it is a module, and `poolhouse` gets its tokens from the hidden macro
// `settings_table!`. So the attribute and the runtime cannot have different settings, and both packed archives have the
// table without a copy. The file must therefore be self-contained: no inner doc comments, and no paths into either crate.

use Reach::{Crate, Engine, Lifecycle, Runtime, Test};
use Takes::{
    Choice, Count, CratePath, Duration, Fixtures, Flag, Function, Limit, Migrations, Migrator,
    Text, Texts, Timeout, Url, Variable,
};
use Written::{Anywhere, AttributeOnly, CodeOnly, NotInEnvironment};

/// One row of the table.
#[derive(Clone, Copy)]
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    pub(crate) takes: Takes,
    pub(crate) reach: Reach,
    pub(crate) written: Written,
    /// A value as a user writes it in the attribute, for messages.
    pub(crate) example: &'static str,
}

/// The kind of value that a setting takes.
#[derive(Clone, Copy)]
pub(crate) enum Takes {
    /// Text that is not empty.
    Text,
    /// Text that is a URL.
    Url,
    /// Text that is the name of an environment variable.
    Variable,
    /// A whole number of the type `of`, from `least` to `most`.
    Count {
        least: u64,
        most: u64,
        of: &'static str,
    },
    /// A `Duration`, or text such as `"1m 30s"`.
    Duration,
    /// A duration above zero.
    Timeout,
    /// A duration above zero, or `"off"`.
    Limit,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// A function.
    Function,
    /// A directory. The attribute lists and embeds it when it is written as text.
    Migrations,
    /// SQL files, as text, and paths of async functions.
    Fixtures,
    /// The path of a static.
    Migrator,
    /// The path of the runtime crate.
    CratePath,
}

/// What a setting applies to, which decides where the attribute takes it.
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

/// Where a setting may be written, other than in the code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// In the file and in the environment.
    Anywhere,
    /// In the file. The environment has a variable of another name for it, or none.
    NotInEnvironment,
    /// Nowhere else: it selects the engine or is a piece of the program.
    CodeOnly,
    /// Nowhere else, and the builder has no setter for it.
    AttributeOnly,
}

/// Every setting, in the order of the documentation. A new one is one more row.
#[rustfmt::skip]
pub(crate) const TABLE: &[Spec] = &[
    row("engine",           Text,                          Engine,    CodeOnly,         "\"reports\""),
    row("url",              Url,                           Engine,    NotInEnvironment, "\"postgres://localhost/bands\""),
    row("env",              Variable,                      Engine,    NotInEnvironment, "\"BANDS_URL\""),
    row("direct_url",       Url,                           Engine,    Anywhere,         "\"postgres://server/bands\""),
    row("max_size",         CONNECTIONS,                   Engine,    Anywhere,         "20"),
    row("min_size",         NO_OR_MORE_CONNECTIONS,        Engine,    Anywhere,         "2"),
    row("acquire_timeout",  Timeout,                       Engine,    Anywhere,         "\"30s\""),
    row("connect_timeout",  Timeout,                       Engine,    Anywhere,         "\"10s\""),
    row("start_timeout",    Timeout,                       Engine,    Anywhere,         "\"30s\""),
    row("idle_timeout",     Limit,                         Engine,    Anywhere,         "\"10m\""),
    row("max_lifetime",     Limit,                         Engine,    Anywhere,         "\"30m\""),
    row("validate_after",   Duration,                      Engine,    Anywhere,         "\"500ms\""),
    row("leak_after",       Limit,                         Engine,    Anywhere,         "\"1m\""),
    row("close_timeout",    Duration,                      Engine,    Anywhere,         "\"5s\""),
    row("shutdown_timeout", Duration,                      Lifecycle, Anywhere,         "\"20s\""),
    row("drain_delay",      Duration,                      Lifecycle, Anywhere,         "\"5s\""),
    row("signals",          Flag,                          Lifecycle, Anywhere,         "false"),
    row("lazy",             Flag,                          Engine,    Anywhere,         "true"),
    row("statement_cache",  STATEMENTS,                    Engine,    Anywhere,         "100"),
    row("application_name", Text,                          Engine,    Anywhere,         "\"bands\""),
    row("session",          Text,                          Engine,    Anywhere,         "\"SET TIME ZONE 'UTC'\""),
    row("connect_with",     Function,                      Engine,    CodeOnly,         "tune"),
    row("before_connect",   Function,                      Engine,    CodeOnly,         "fetch_token"),
    row("pooler",           Choice(POOLERS),               Engine,    Anywhere,         "\"pgbouncer\""),
    row("extensions",       Texts,                         Engine,    Anywhere,         "[\"citext\"]"),
    row("log_queries",      Choice(LOG_LEVELS),            Engine,    Anywhere,         "\"debug\""),
    row("query_spans",      Choice(SPAN_LEVELS),           Engine,    Anywhere,         "\"debug\""),
    row("slow_query",       Duration,                      Engine,    Anywhere,         "\"1s\""),
    row("migrations",       Migrations,                    Engine,    Anywhere,         "\"migrations\""),
    row("migrator",         Migrator,                      Engine,    CodeOnly,         "MIGRATOR"),
    row("isolation",        Choice(ISOLATIONS),            Test,      NotInEnvironment, "\"rollback\""),
    row("fixtures",         Fixtures,                      Test,      CodeOnly,         "(\"bands\")"),
    row("flavor",           Choice(FLAVORS),               Runtime,   Anywhere,         "\"current_thread\""),
    row("worker_threads",   THREADS,                       Runtime,   Anywhere,         "4"),
    row("crate",            CratePath,                     Crate,     AttributeOnly,    "::poolhouse"),
];

/// The most connections of a pool: the highest `max_connections` of Postgres, which is more than any other server
/// accepts.
/// <https://www.postgresql.org/docs/current/runtime-config-connection.html>
pub(crate) const MOST_CONNECTIONS: u32 = 262_143;

/// The most threads of a runtime. Each takes memory of the system; at some number, tokio panics because there is no more.
pub(crate) const MOST_THREADS: u32 = 1024;

const CONNECTIONS: Takes = count(1, MOST_CONNECTIONS, "u32");
const NO_OR_MORE_CONNECTIONS: Takes = count(0, MOST_CONNECTIONS, "u32");
const STATEMENTS: Takes = count(0, u32::MAX, "u32");
const THREADS: Takes = count(1, MOST_THREADS, "usize");

const fn count(least: u64, most: u32, of: &'static str) -> Takes {
    let most = most as u64;
    Count { least, most, of }
}

/// The values of `pooler`.
pub(crate) const POOLERS: &[&str] = &["pgbouncer"];

/// The values of `log_queries`.
pub(crate) const LOG_LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

/// The values of `query_spans`.
pub(crate) const SPAN_LEVELS: &[&str] = &["off", "debug", "info"];

/// The values of `isolation`.
pub(crate) const ISOLATIONS: &[&str] = &["database", "rollback", "none"];

/// The values of `flavor`.
pub(crate) const FLAVORS: &[&str] = &["multi_thread", "current_thread"];

const fn row(
    name: &'static str,
    takes: Takes,
    reach: Reach,
    written: Written,
    example: &'static str,
) -> Spec {
    Spec {
        name,
        takes,
        reach,
        written,
        example,
    }
}

/// Names of one setting in another library, with the name here and a note.
pub(crate) struct Foreign {
    pub(crate) names: &'static [&'static str],
    pub(crate) library: &'static str,
    pub(crate) ours: &'static str,
    pub(crate) note: &'static str,
}

/// The names of settings in other pools, in snake case.
#[rustfmt::skip]
pub(crate) const FOREIGN: &[Foreign] = &[
    foreign("sqlx", &["max_connections"], "max_size", ""),
    foreign("sqlx", &["min_connections"], "min_size", ""),
    foreign("sqlx", &["test_before_acquire", "before_acquire"], "validate_after", "`\"0s\"` pings before every use"),
    foreign("sqlx", &["acquire_slow_threshold", "acquire_slow_level"], "acquire_timeout", "its error names who holds the connections"),
    foreign("sqlx", &["after_connect"], "session", "SQL that is run on every new connection"),
    foreign("sqlx", &["connect_lazy"], "lazy", "`lazy = true`"),
    foreign("sqlx", &["statement_cache_capacity"], "statement_cache", ""),
    foreign("sqlx", &["log_statements"], "log_queries", ""),
    foreign("sqlx", &["log_slow_statements"], "slow_query", ""),
    foreign("sqlx", &["database_url"], "url", "`env` names another variable than `DATABASE_URL`"),
    foreign("HikariCP", &["maximum_pool_size"], "max_size", ""),
    foreign("HikariCP", &["minimum_idle"], "min_size", ""),
    foreign("HikariCP", &["connection_timeout"], "acquire_timeout", "a duration such as `\"30s\"`"),
    foreign("HikariCP", &["leak_detection_threshold"], "leak_after", "a duration such as `\"1m\"`"),
    foreign("HikariCP", &["keepalive_time", "connection_test_query", "validation_timeout"], "validate_after", "how long a connection may be idle before it is pinged"),
    foreign("HikariCP", &["initialization_fail_timeout"], "start_timeout", ""),
    foreign("HikariCP", &["connection_init_sql"], "session", ""),
    foreign("HikariCP", &["pool_name"], "engine", ""),
    foreign("HikariCP", &["jdbc_url"], "url", "without `jdbc:`"),
    foreign("deadpool", &["timeouts", "wait", "wait_timeout"], "acquire_timeout", ""),
    foreign("deadpool", &["create", "create_timeout"], "connect_timeout", ""),
    foreign("deadpool", &["recycle", "recycle_timeout", "recycling_method"], "validate_after", "how long a connection may be idle before it is pinged"),
    foreign("deadpool", &["post_create"], "session", "SQL that is run on every new connection"),
    foreign("asyncpg", &["dsn"], "url", ""),
    foreign("asyncpg", &["timeout"], "acquire_timeout", "the time for one attempt to connect is `connect_timeout`"),
    foreign("asyncpg", &["command_timeout"], "session", "`session = \"SET statement_timeout = '5s'\"`"),
    foreign("asyncpg", &["max_inactive_connection_lifetime"], "idle_timeout", ""),
    foreign("asyncpg", &["max_queries"], "max_lifetime", "a connection ends by its age, not by its use"),
    foreign("asyncpg", &["init", "setup", "server_settings"], "session", "SQL that is run on every new connection"),
    foreign("asyncpg", &["statement_cache_size", "max_cached_statement_lifetime"], "statement_cache", ""),
    foreign("r2d2", &["min_idle"], "min_size", ""),
    foreign("r2d2", &["test_on_check_out"], "validate_after", "`\"0s\"` pings before every use"),
    foreign("pgx", &["max_conns"], "max_size", ""),
    foreign("pgx", &["min_conns"], "min_size", ""),
    foreign("pgx", &["max_conn_lifetime"], "max_lifetime", ""),
    foreign("pgx", &["max_conn_idle_time"], "idle_timeout", ""),
    foreign("another pool", &["pool_size", "max_pool_size"], "max_size", ""),
    foreign("another pool", &["min_pool_size"], "min_size", ""),
    foreign("another pool", &["app_name"], "application_name", ""),
    foreign("tokio", &["core_threads"], "worker_threads", ""),
];

const fn foreign(
    library: &'static str,
    names: &'static [&'static str],
    ours: &'static str,
    note: &'static str,
) -> Foreign {
    Foreign {
        names,
        library,
        ours,
        note,
    }
}

/// The setting of this name.
pub(crate) fn find(name: &str) -> Option<&'static Spec> {
    TABLE.iter().find(|spec| spec.name == name)
}

/// The setting that an unknown name most likely means.
#[derive(Clone, Copy)]
pub(crate) enum Meant {
    /// A setting of poolhouse, misspelt or incomplete.
    Ours(&'static Spec),
    /// A name in another library of a setting of poolhouse.
    Foreign(&'static str, &'static Foreign),
}

impl Meant {
    /// The setting's name here.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Meant::Ours(spec) => spec.name,
            Meant::Foreign(_, foreign) => foreign.ours,
        }
    }

    /// A hint for the written `key`, as a clause without a full stop.
    pub(crate) fn hint(self, key: &str) -> String {
        match self {
            Meant::Ours(spec) => format!("did you mean `{}`?", spec.name),
            Meant::Foreign(
                name,
                Foreign {
                    library,
                    ours,
                    note,
                    ..
                },
            ) => {
                let name = if plain(name) == plain(key) { key } else { name };
                let note = if note.is_empty() {
                    String::new()
                } else {
                    format!(" ({note})")
                };
                format!("what {library} calls `{name}` is `{ours}` in poolhouse{note}")
            }
        }
    }
}

/// The setting that `key` most likely means, among those that `admits` accepts and the names in other libraries.
pub(crate) fn meant(key: &str, admits: impl Fn(&Spec) -> bool) -> Option<Meant> {
    let ours = TABLE.iter().filter(|spec| admits(spec));
    let ours = ours.map(|spec| (spec.name, Meant::Ours(spec)));
    let theirs = FOREIGN.iter().flat_map(|foreign| {
        let names = foreign.names.iter();
        names.map(move |name| (*name, Meant::Foreign(name, foreign)))
    });
    closest(key, ours.chain(theirs))
}

/// The value whose name is closest to `key`: at most one typing error for every four letters, or an incomplete name.
/// `maximumPoolSize`, `maximum-pool-size` and `MAXIMUM_POOL_SIZE` are one name.
pub(crate) fn closest<'a, T>(
    key: &str,
    known: impl IntoIterator<Item = (&'a str, T)>,
) -> Option<T> {
    let key = plain(key);
    let distance = |name: &str| {
        let slips = strsim::damerau_levenshtein(&key, name);
        // Fewer letters are the beginning of too many names.
        let begins = key.len() > 2 && name.starts_with(&key);
        // Of two at the same distance, the longer one has more letters in common.
        let distance = (slips, std::cmp::Reverse(name.len()));
        (slips <= name.len() / 4 || begins).then_some(distance)
    };
    known
        .into_iter()
        .filter_map(|(name, value)| Some((distance(&plain(name))?, value)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, value)| value)
}

/// The letters and digits of a name, in lower case.
fn plain(name: &str) -> String {
    name.trim_start_matches("r#")
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}
