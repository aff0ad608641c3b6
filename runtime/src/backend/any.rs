//! `Any`: the database is chosen by the URL at run time.

use sqlx::Any;
use sqlx::any::AnyConnectOptions;
use url::Url;

use super::{Backend, cockroach};
use crate::dialect::{Dialect, dialect_of};
use crate::settings::{DatabaseUrl, EngineSettings};

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
}

/// Adds settings to the URL that the driver of a server reads from there, unless the URL has them. `Any` has no other
/// interface for them. `None` for a database without a server, or for an invalid URL, which the driver reports.
fn with_settings(url: &str, dialect: &Dialect, settings: &EngineSettings) -> Option<String> {
    dialect.session.as_ref()?;
    let mut url = Url::parse(url).ok()?;
    let cache = settings.statement_cache.to_string();
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
