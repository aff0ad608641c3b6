//! `Any`: the database is chosen by the URL at run time.

use sqlx::Any;
use sqlx::any::AnyConnectOptions;
use url::Url;

use super::{Backend, cockroach};
use crate::dialect::{Dialect, dialect_of};
use crate::settings::{DatabaseUrl, EngineSettings};

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
        let with_settings =
            Self::dialect(url).and_then(|dialect| with_settings(&written, dialect, settings));
        let options: AnyConnectOptions = with_settings.as_deref().unwrap_or(&written).parse()?;
        Ok(super::options::log_statements(options, settings))
    }

    // `Any` passes on the errors of the drivers, which each database recognizes as its own.

    fn refuses_writes(error: &sqlx::Error) -> bool {
        any_of!(refuses_writes(error))
    }

    fn ends_transaction(error: &sqlx::Error) -> bool {
        any_of!(ends_transaction(error))
    }

    fn spoils_connection(error: &sqlx::Error) -> bool {
        any_of!(spoils_connection(error))
    }

    fn ends_session(error: &sqlx::Error) -> bool {
        any_of!(ends_session(error))
    }
}

/// Adds settings to the URL that the driver of a server reads from there, unless the URL has them. `Any` has no other
/// interface for them. `None` for a database without a server, or for an invalid URL, which the driver reports.
fn with_settings(url: &str, dialect: &Dialect, settings: &EngineSettings) -> Option<String> {
    dialect.session.as_ref()?;
    let mut url = Url::parse(url).ok()?;
    // Without a cache, the driver of Postgres leaves each statement prepared on the server.
    let cache = settings.statement_cache.max(1).to_string();
    let wanted = [
        ("application_name", settings.application_name.as_deref()),
        ("statement-cache-capacity", Some(&*cache)),
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
    Some(url.into())
}
