//! `Any`: the database is chosen by the URL at run time.

use sqlx::Any;
use sqlx::any::AnyConnectOptions;

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
        let options: AnyConnectOptions = cockroach::for_driver(url).parse()?;
        Ok(super::log_statements(options, settings))
    }
}
