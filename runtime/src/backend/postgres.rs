//! Postgres.

use sqlx::Postgres;
use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgErrorPosition, PgSeverity};

use super::{Backend, Dialect, dialect};
use crate::settings::{DatabaseUrl, EngineSettings};

impl Backend for Postgres {
    const KIND: &'static str = "Postgres";

    #[cfg(feature = "ephemeral")]
    const TEST_URL: Option<&'static str> = Some(crate::testing::ephemeral::POSTGRES);

    fn dialect(url: &DatabaseUrl) -> Option<&'static Dialect> {
        dialect::POSTGRES
            .schemes
            .contains(&url.scheme())
            .then_some(&dialect::POSTGRES)
    }

    fn options(settings: &EngineSettings) -> sqlx::Result<PgConnectOptions> {
        let options: PgConnectOptions = settings.url.expose().parse()?;
        // A name in the URL is the more particular one.
        let options = match (options.get_application_name(), &settings.application_name) {
            (None, Some(name)) => options.application_name(name),
            _ => options,
        };
        let options = options.statement_cache_capacity(settings.statement_cache as usize);
        Ok(super::log_statements(options, settings))
    }

    fn error_position(error: &sqlx::Error) -> Option<usize> {
        let error = error
            .as_database_error()?
            .try_downcast_ref::<PgDatabaseError>()?;
        match error.position()? {
            PgErrorPosition::Original(position) => Some(position),
            PgErrorPosition::Internal { .. } => None,
        }
    }

    fn ends_session(error: &sqlx::Error) -> bool {
        match error {
            // FATAL and PANIC end the session: <https://www.postgresql.org/docs/current/runtime-config-logging.html>.
            sqlx::Error::Database(error) => error
                .try_downcast_ref::<PgDatabaseError>()
                .is_some_and(|error| {
                    matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic)
                }),
            error => super::breaks_connection(error),
        }
    }
}
