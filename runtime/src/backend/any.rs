//! `Any`: the database is chosen by the URL at run time.

use std::borrow::Cow;

use sqlx::Any;
use sqlx::any::AnyConnectOptions;
use url::Url;

use super::{Backend, cockroach};
use crate::dialect::{Dialect, dialect_of};
use crate::settings::{DatabaseUrl, EngineSettings};

/// The parameter of a URL for the number of statements that a connection caches.
const CACHE: &str = "statement-cache-capacity";

/// Whether one of the databases says so.
macro_rules! any_of {
    ($function:ident($error:ident)) => {{
        let mut says_so = false;
        #[cfg(feature = "postgres")]
        {
            says_so |= sqlx::Postgres::$function($error);
        }
        #[cfg(feature = "mysql")]
        {
            says_so |= sqlx::MySql::$function($error);
        }
        #[cfg(feature = "sqlite")]
        {
            says_so |= sqlx::Sqlite::$function($error);
        }
        says_so
    }};
}

impl Backend for Any {
    const KIND: &'static str = "Any";

    fn dialect(url: &DatabaseUrl) -> Option<&'static Dialect> {
        dialect_of(url).ok()
    }

    fn options(url: &DatabaseUrl, settings: &EngineSettings) -> sqlx::Result<AnyConnectOptions> {
        sqlx::any::install_default_drivers();
        let written = cockroach::for_driver(url);
        let dialect = Self::dialect(url);
        #[cfg(feature = "sqlite")]
        let written = if sqlx::Sqlite::dialect(url).is_some() {
            without_host(&super::sqlite::one_database(url)?).into()
        } else {
            written
        };
        let with_settings = dialect.and_then(|dialect| with_settings(&written, dialect, settings));
        let options: AnyConnectOptions = with_settings.as_deref().unwrap_or(&written).parse()?;
        Ok(super::options::log_statements(options, settings))
    }

    fn corrected(mut options: AnyConnectOptions) -> AnyConnectOptions {
        keep_a_statement(&mut options.database_url);
        options
    }

    fn database_of(options: &AnyConnectOptions) -> Option<String> {
        let url = &options.database_url;
        // The parameter overrides the path, as in the driver of Postgres. SQLite has no such parameter.
        let parameter = url.query_pairs().filter(|(name, _)| name == "dbname");
        let database = parameter.last().map_or_else(
            || url.path().trim_start_matches('/').to_owned(),
            |(_, database)| database.into_owned(),
        );
        Some(database).filter(|database| !database.is_empty())
    }

    // `Any` passes on the errors of the drivers, which each database recognizes as its own.

    fn refuses_writes(error: &sqlx::Error) -> bool {
        any_of!(refuses_writes(error))
    }

    fn ends_transaction(error: &sqlx::Error) -> bool {
        any_of!(ends_transaction(error))
    }

    fn ends_session(error: &sqlx::Error) -> bool {
        any_of!(ends_session(error))
    }
}

/// Writes a file as `sqlite:file`, which `Any` keeps as it is. Of `sqlite://../../file`, it would take the first `..` as a
/// host and resolve the second one.
#[cfg(feature = "sqlite")]
fn without_host(url: &str) -> String {
    // As the driver reads it.
    let file = url.trim_start_matches("sqlite://");
    let file = file.trim_start_matches("sqlite:");
    if file.starts_with("//") {
        return format!("sqlite:/{}", file.trim_start_matches('/'));
    }
    format!("sqlite:{file}")
}

/// Adds settings to the URL that the driver of a server reads from there, unless the URL has them. `Any` has no other
/// interface for them. `None` for a database without a server, or for an invalid URL, which the driver reports.
fn with_settings(url: &str, dialect: &Dialect, settings: &EngineSettings) -> Option<String> {
    dialect.session.as_ref()?;
    let mut url = Url::parse(url).ok()?;
    let cache = settings.statement_cache.max(1).to_string();
    // The crate's name is the weakest: the driver reads `PGAPPNAME`.
    let by_environment =
        settings.is_default("application_name") && std::env::var_os("PGAPPNAME").is_some();
    let name = settings.application_name.as_deref();
    let wanted = [
        ("application_name", name.filter(|_| !by_environment)),
        (CACHE, Some(&*cache)),
    ];
    for (name, value) in wanted {
        let has_it = url.query_pairs().any(|(known, _)| known == name);
        if let Some(value) = value
            && (dialect.knows_parameter)(name)
            && !has_it
        {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    keep_a_statement(&mut url);
    Some(url.into())
}

/// Replaces a statement cache of zero in a URL: without a cache, the driver of Postgres leaves each statement prepared on the
/// server.
fn keep_a_statement(url: &mut Url) {
    let is_none = |(name, value): &(Cow<'_, str>, Cow<'_, str>)| {
        name == CACHE && value.parse::<usize>().is_ok_and(|capacity| capacity == 0)
    };
    if !url.query_pairs().any(|pair| is_none(&pair)) {
        return;
    }
    let others = url.query_pairs().filter(|pair| !is_none(pair));
    let others = others.map(|(name, value)| (name.into_owned(), value.into_owned()));
    let others: Vec<_> = others.collect();
    let mut parameters = url.query_pairs_mut();
    parameters
        .clear()
        .extend_pairs(others)
        .append_pair(CACHE, "1");
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "sqlite")]
    use sqlx::ConnectOptions;

    use super::*;

    #[cfg(feature = "sqlite")]
    #[test]
    fn any_opens_the_file_of_the_url() {
        for (written, file) in [
            ("sqlite://../../x.db", "../../x.db"),
            ("sqlite:../../x.db", "../../x.db"),
            ("sqlite://some folder/x.db?mode=rwc", "some folder/x.db"),
            ("sqlite:///folder/x.db", "/folder/x.db"),
            ("sqlite:////folder/x.db", "/folder/x.db"),
        ] {
            let options: AnyConnectOptions = without_host(written).parse().unwrap();
            let options = sqlx::sqlite::SqliteConnectOptions::from_url(&options.database_url);
            assert_eq!(options.unwrap().get_filename().to_str(), Some(file));
        }
    }

    #[test]
    fn a_statement_is_kept() {
        for (written, given) in [
            (
                "postgres://h/db?statement-cache-capacity=0&sslmode=disable",
                "postgres://h/db?sslmode=disable&statement-cache-capacity=1",
            ),
            (
                "postgres://h/db?statement-cache-capacity=7",
                "postgres://h/db?statement-cache-capacity=7",
            ),
            ("sqlite::memory:", "sqlite::memory:"),
        ] {
            let mut url = Url::parse(written).unwrap();
            keep_a_statement(&mut url);
            assert_eq!(url.as_str(), given);
        }
    }
}
