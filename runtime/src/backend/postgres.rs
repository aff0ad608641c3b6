//! Postgres.

mod pooled;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use sqlx::postgres::{
    PgConnectOptions, PgConnection, PgDatabaseError, PgErrorPosition, PgSeverity, PgStatement,
    PgTypeInfo,
};
use sqlx::{ConnectOptions, Execute, Postgres, SqlStr};
use sqlx_core::describe::Describe;

use super::{Backend, Pooled, Step, cockroach};
use crate::dialect::{self, Dialect};
use crate::settings::{DatabaseUrl, EngineSettings};

/// The smallest cache of statements. The driver never closes a statement that it does not cache: without a cache, each execution
/// would leave one in the session, and a pooler would pass them on to other clients.
const LEAST_CACHE: usize = 1;

impl Backend for Postgres {
    const KIND: &'static str = "Postgres";

    fn dialect(url: &DatabaseUrl) -> Option<&'static Dialect> {
        [&dialect::POSTGRES, &dialect::COCKROACH]
            .into_iter()
            .find(|dialect| dialect.schemes.contains(&url.scheme()))
    }

    fn options(url: &DatabaseUrl, settings: &EngineSettings) -> sqlx::Result<PgConnectOptions> {
        let options: PgConnectOptions = cockroach::for_driver(url).parse()?;
        // As in libpq: the URL, then the setting, then `PGAPPNAME`, which the driver reads, then the crate's name.
        let is_given = if settings.is_default("application_name") {
            options.get_application_name().is_some()
        } else {
            url.parameter("application_name").is_some()
        };
        let options = match &settings.application_name {
            Some(name) if !is_given => options.application_name(name),
            _ => options,
        };
        let kept = super::options::statement_cache(url, settings).max(LEAST_CACHE);
        let options = options.statement_cache_capacity(kept);
        Ok(super::options::log_statements(options, settings))
    }

    fn corrected(options: PgConnectOptions) -> PgConnectOptions {
        // The driver shows the capacity only in a URL. It panics there when the host is a path, as it is by default where the
        // server's socket exists, or when the user's name does not fit.
        let shown = options.clone().socket("any").username("any");
        let shown = shown.to_url_lossy();
        let mut parameters = shown.query_pairs();
        if parameters.any(|(name, value)| name == "statement-cache-capacity" && value == "0") {
            return options.statement_cache_capacity(LEAST_CACHE);
        }
        options
    }

    fn database_of(options: &PgConnectOptions) -> Option<String> {
        options.get_database().map(str::to_owned)
    }

    fn refuses_writes(error: &sqlx::Error) -> bool {
        // <https://www.postgresql.org/docs/current/errcodes-appendix.html>
        error
            .as_database_error()
            .is_some_and(|error| error.code().as_deref() == Some("25006"))
    }

    const CLEAR_POOLED: Option<&'static str> = Some(pooled::CLEAR);

    fn fetch_many_pooled<'e, 'q: 'e, E>(
        connection: &'e mut PgConnection,
        query: E,
        pooled: Pooled,
    ) -> BoxStream<'e, sqlx::Result<Step<Self>>>
    where
        E: Execute<'q, Self> + 'q,
    {
        pooled::fetch_many(connection, query, pooled)
    }

    fn prepare_pooled<'e>(
        connection: &'e mut PgConnection,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
        pooled: &'e Pooled,
    ) -> BoxFuture<'e, sqlx::Result<PgStatement>> {
        Box::pin(pooled::prepare_with(connection, sql, parameters, pooled))
    }

    fn describe_pooled<'e>(
        connection: &'e mut PgConnection,
        sql: SqlStr,
        pooled: &'e Pooled,
    ) -> BoxFuture<'e, sqlx::Result<Describe<Self>>> {
        Box::pin(pooled::describe(connection, sql, pooled))
    }

    fn forget_statements(connection: &mut PgConnection) -> BoxFuture<'_, sqlx::Result<()>> {
        Box::pin(pooled::forget_statements(connection))
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
                        // A draining node of CockroachDB reports this before it closes:
                        // <https://www.cockroachlabs.com/docs/stable/node-shutdown>.
                        || error.code() == "57P01"
                }),
            error => super::database::breaks_connection(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_program_keep_a_statement() {
        let capacity = |options: PgConnectOptions| {
            let options = format!("{options:?}");
            let (_, capacity) = options.split_once("statement_cache_capacity: ").unwrap();
            let end = capacity.find(|c: char| !c.is_ascii_digit()).unwrap();
            capacity[..end].to_owned()
        };
        // Such a host and such a user have no URL.
        let options = PgConnectOptions::new().host("/run/postgresql");
        let options = options.username("a/b@c").database("music");
        for (given, kept) in [(0, "1"), (1, "1"), (7, "7"), (100, "100")] {
            let options = options.clone().statement_cache_capacity(given);
            assert_eq!(capacity(Postgres::corrected(options)), kept);
        }
        let socket = PgConnectOptions::new()
            .socket("")
            .statement_cache_capacity(0);
        assert_eq!(capacity(Postgres::corrected(socket)), "1");
    }
}
