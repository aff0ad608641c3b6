//! The table of settings: their names, where each may be written, and the names other pools have for them.

/// The engine without a name.
pub(crate) const DEFAULT_ENGINE: &str = "default";

/// Where a setting may be written besides the code, which takes them all.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// In the file and in the environment.
    Everywhere,
    /// In the file. The environment has a variable of another name for it, or it names a variable itself.
    File,
    /// Nowhere else: it picks the engine or is a piece of the program.
    Code,
}

/// Every setting there is.
pub(super) const SETTINGS: &[(&str, Reach)] = &[
    ("engine", Reach::Code),
    ("url", Reach::File),
    ("env", Reach::File),
    ("direct_url", Reach::Everywhere),
    ("max_size", Reach::Everywhere),
    ("min_size", Reach::Everywhere),
    ("acquire_timeout", Reach::Everywhere),
    ("connect_timeout", Reach::Everywhere),
    ("start_timeout", Reach::Everywhere),
    ("idle_timeout", Reach::Everywhere),
    ("max_lifetime", Reach::Everywhere),
    ("validate_after", Reach::Everywhere),
    ("leak_after", Reach::Everywhere),
    ("close_timeout", Reach::Everywhere),
    ("shutdown_timeout", Reach::Everywhere),
    ("signals", Reach::Everywhere),
    ("lazy", Reach::Everywhere),
    ("statement_cache", Reach::Everywhere),
    ("application_name", Reach::Everywhere),
    ("session", Reach::Everywhere),
    ("connect_with", Reach::Code),
    ("before_connect", Reach::Code),
    ("pooler", Reach::Everywhere),
    ("extensions", Reach::Everywhere),
    ("log_queries", Reach::Everywhere),
    ("slow_query", Reach::Everywhere),
    ("migrations", Reach::Everywhere),
    ("migrator", Reach::Code),
    ("isolation", Reach::File),
    ("fixtures", Reach::Code),
    ("flavor", Reach::Everywhere),
    ("worker_threads", Reach::Everywhere),
];

/// What other pools and drivers call our settings, written in the form of [`plain`].
const FOREIGN: &[(&str, &str)] = &[
    // sqlx
    ("maxconnections", "max_size"),
    ("minconnections", "min_size"),
    ("testbeforeacquire", "validate_after"),
    ("afterconnect", "session"),
    ("connectlazy", "lazy"),
    ("statementcachecapacity", "statement_cache"),
    ("databaseurl", "url"),
    // HikariCP
    ("maximumpoolsize", "max_size"),
    ("minimumidle", "min_size"),
    ("connectiontimeout", "acquire_timeout"),
    ("keepalivetime", "validate_after"),
    ("leakdetectionthreshold", "leak_after"),
    ("connectioninitsql", "session"),
    ("jdbcurl", "url"),
    ("poolname", "engine"),
    // deadpool, bb8
    ("waittimeout", "acquire_timeout"),
    ("createtimeout", "connect_timeout"),
    ("recycletimeout", "validate_after"),
    ("minidle", "min_size"),
    // asyncpg
    ("dsn", "url"),
    ("timeout", "acquire_timeout"),
    ("maxinactiveconnectionlifetime", "idle_timeout"),
    ("statementcachesize", "statement_cache"),
    ("maxcachedstatementlifetime", "statement_cache"),
    ("init", "session"),
    // common guesses
    ("poolsize", "max_size"),
    ("maxpoolsize", "max_size"),
    ("minpoolsize", "min_size"),
    ("appname", "application_name"),
];

/// How far a setting reaches, or `None` when there is no such setting.
pub(super) fn reach(name: &str) -> Option<Reach> {
    SETTINGS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, reach)| *reach)
}

/// The setting that someone who wrote `name` most likely meant.
pub(super) fn meant(name: &str) -> Option<&'static str> {
    let plain_name = plain(name);
    let foreign = FOREIGN
        .iter()
        .find(|(foreign, _)| *foreign == plain_name)
        .map(|(_, ours)| *ours);
    foreign.or_else(|| nearest(name, SETTINGS.iter().map(|(known, _)| *known)))
}

/// The known name that `name` is most likely a slip of the pen for.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Below two thirds, unrelated words of the same length begin to match.
    const SLIP: f64 = 0.66;
    let written = plain(name);
    known
        .into_iter()
        .map(|candidate| {
            (
                strsim::normalized_damerau_levenshtein(&written, &plain(candidate)),
                candidate,
            )
        })
        .filter(|(likeness, _)| *likeness >= SLIP)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate)
}

/// `maximumPoolSize`, `maximum-pool-size` and `MAXIMUM_POOL_SIZE` are one word.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// The variable that sets `setting` for `engine`: `POOLHOUSE_MAX_SIZE`, `POOLHOUSE_REPORTS_MAX_SIZE`.
pub(super) fn variable(engine: &str, setting: &str) -> String {
    format!("{}{}", variable_prefix(engine), upper(setting))
}

/// What the variables of an engine's settings begin with.
pub(super) fn variable_prefix(engine: &str) -> String {
    if engine == DEFAULT_ENGINE {
        "POOLHOUSE_".to_owned()
    } else {
        format!("POOLHOUSE_{}_", upper(engine))
    }
}

/// The variable that holds the URL when the setting `env` does not name another one.
pub(super) fn url_variable(engine: &str) -> String {
    if engine == DEFAULT_ENGINE {
        "DATABASE_URL".to_owned()
    } else {
        format!("{}_DATABASE_URL", upper(engine))
    }
}

/// A node of an engine, as the variables of its settings call it: `POOLHOUSE_REPORTS_NODES_REPLICA1_MAX_SIZE`.
pub(super) fn node_in_variables(engine: &str, node: &str) -> String {
    if engine == DEFAULT_ENGINE {
        format!("nodes_{node}")
    } else {
        format!("{engine}_nodes_{node}")
    }
}

/// The section of the file that belongs to an engine.
pub(crate) fn section(engine: &str) -> String {
    if engine == DEFAULT_ENGINE {
        "[engine]".to_owned()
    } else {
        format!("[engines.{engine}]")
    }
}

/// A name as it stands in a variable: `my-reports` becomes `MY_REPORTS`.
fn upper(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect()
}
