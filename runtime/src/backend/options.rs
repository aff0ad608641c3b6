//! Connect options that all drivers have.

use sqlx::ConnectOptions;

#[cfg(any(feature = "postgres", feature = "mysql"))]
use crate::settings::DatabaseUrl;
use crate::settings::{EngineSettings, LogLevel};

/// How many statements a connection caches. A number in the URL takes precedence.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) fn statement_cache(url: &DatabaseUrl, settings: &EngineSettings) -> usize {
    // The driver has parsed the same text before, so it is a number.
    url.parameter("statement-cache-capacity")
        .and_then(|capacity| capacity.parse().ok())
        .unwrap_or(settings.statement_cache as usize)
}

/// Sets the statement logging of `log_queries` and `slow_query`.
pub(super) fn log_statements<O: ConnectOptions>(options: O, settings: &EngineSettings) -> O {
    let level = match settings.log_queries {
        LogLevel::Off => log::LevelFilter::Off,
        LogLevel::Error => log::LevelFilter::Error,
        LogLevel::Warn => log::LevelFilter::Warn,
        LogLevel::Info => log::LevelFilter::Info,
        LogLevel::Debug => log::LevelFilter::Debug,
        LogLevel::Trace => log::LevelFilter::Trace,
    };
    options
        .log_statements(level)
        .log_slow_statements(log::LevelFilter::Warn, settings.slow_query)
}
