//! `Any`: the database is chosen by the URL at run time.

use sqlx::Any;
use sqlx::any::AnyConnectOptions;

use super::{Backend, Dialect, KINDS, cockroach};
use crate::settings::{DatabaseUrl, EngineSettings};

impl Backend for Any {
    const KIND: &'static str = "Any";

    fn dialect(url: &DatabaseUrl) -> Option<&'static Dialect> {
        KINDS
            .iter()
            .filter(|kind| kind.engine.is_some())
            .map(|kind| kind.dialect)
            .find(|dialect| dialect.schemes.contains(&url.scheme()))
    }

    fn options(url: &DatabaseUrl, settings: &EngineSettings) -> sqlx::Result<AnyConnectOptions> {
        sqlx::any::install_default_drivers();
        let options: AnyConnectOptions = cockroach::for_driver(url).parse()?;
        Ok(super::log_statements(options, settings))
    }
}
