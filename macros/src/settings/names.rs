//! Names that are not in the table: typing errors, and what other pools call the same thing.

use super::{On, TABLE};

/// A name used elsewhere: where, what is called so in poolhouse, and what else is worth knowing.
struct Foreign {
    names: &'static [&'static str],
    library: &'static str,
    ours: &'static str,
    note: &'static str,
}

/// The names, in snake case, under which people who come from another pool look for a setting.
#[rustfmt::skip]
const FOREIGN: &[Foreign] = &[
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

/// The message for a key that is not in the table.
pub(super) fn unknown(key: &str, on: On) -> String {
    let snake = snake_case(key);
    let ours = || {
        TABLE
            .iter()
            .filter(|spec| on.admits(spec))
            .map(|spec| (spec.name, None))
    };
    let theirs = FOREIGN
        .iter()
        .flat_map(|foreign| foreign.names.iter().map(move |name| (*name, Some(foreign))));
    match closest(&snake, ours().chain(theirs)) {
        Some((name, None)) => format!("unknown setting `{key}`: did you mean `{name}`?"),
        Some((
            name,
            Some(Foreign {
                library,
                ours,
                note,
                ..
            }),
        )) => {
            let name = if name == snake { key } else { name };
            let note = if note.is_empty() {
                String::new()
            } else {
                format!(" ({note})")
            };
            format!(
                "unknown setting `{key}`: what {library} calls `{name}` is `{ours}` in poolhouse{note}"
            )
        }
        None => {
            let known: Vec<String> = ours().map(|(name, _)| format!("`{name}`")).collect();
            format!(
                "unknown setting `{key}`; the settings are {}",
                known.join(", ")
            )
        }
    }
}

/// The name that most likely was meant: at most one slip of the finger for every four letters, or not yet typed to its
/// end.
fn closest<'a, T>(key: &str, known: impl Iterator<Item = (&'a str, T)>) -> Option<(&'a str, T)> {
    known
        .map(|known| (strsim::damerau_levenshtein(key, known.0), known))
        .filter(|(distance, (name, _))| *distance <= name.len() / 4 || begins(key, name))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Whether a name begins like this; fewer letters begin too many names.
fn begins(key: &str, name: &str) -> bool {
    key.len() > 2 && name.starts_with(key)
}

/// `maximumPoolSize` and `MaximumPoolSize` as `maximum_pool_size`; `r#name` as `name`.
fn snake_case(key: &str) -> String {
    let mut snake = String::new();
    for letter in key.trim_start_matches("r#").chars() {
        if letter.is_uppercase() && !snake.is_empty() && !snake.ends_with('_') {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::{FOREIGN, On, TABLE, snake_case, unknown};

    #[test]
    fn every_foreign_name_leads_to_a_setting_of_the_table() {
        for foreign in FOREIGN {
            assert!(
                TABLE.iter().any(|spec| spec.name == foreign.ours),
                "{}",
                foreign.ours
            );
        }
    }

    #[test]
    fn no_foreign_name_is_a_setting_or_stands_in_the_table_twice() {
        let mut names: Vec<_> = FOREIGN.iter().flat_map(|foreign| foreign.names).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        for name in names {
            assert!(
                !TABLE.iter().any(|spec| spec.name == *name),
                "{name} is ours"
            );
        }
    }

    #[test]
    fn keys_are_compared_in_snake_case() {
        assert_eq!(snake_case("maximumPoolSize"), "maximum_pool_size");
        assert_eq!(snake_case("MaxConns"), "max_conns");
        assert_eq!(snake_case("r#type"), "type");
        assert_eq!(snake_case("max_size"), "max_size");
    }

    #[test]
    fn a_parameter_is_never_offered_what_it_cannot_take() {
        assert!(unknown("signal", On::Function).ends_with("did you mean `signals`?"));
        assert!(!unknown("signal", On::Parameter).contains("signals"));
        assert!(!unknown("xyz", On::Parameter).contains("flavor"));
    }
}
