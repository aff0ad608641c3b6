//! Tracing spans of statements, waits and transactions.
//!
//! The names are OpenTelemetry's stable ones for database clients,
//! <https://opentelemetry.io/docs/specs/semconv/database/database-spans/>. A span has the text of a statement as the program
//! wrote it, with placeholders, and never the values of parameters.
//!
//! A span is not entered while the driver works, because to enter it at each poll would cost every statement more than the
//! span.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use tracing::Span;
use tracing::field::Empty;
use tracing::level_filters::LevelFilter;

use super::connecting::Connector;
use super::durations::{Durations, OPERATIONS_KNOWN};
use crate::backend::Backend;
use crate::dialect::{Dialect, leading_word};
use crate::logging;
use crate::settings::{DatabaseUrl, Hosts, QuerySpans};

/// Observes the statements of one connection. Cheap to clone.
#[derive(Clone)]
pub(super) struct Observer {
    /// The database's dialect, which decides what a statement may leave in its session.
    pub(super) dialect: &'static Dialect,
    /// `None` if neither spans nor durations are wanted.
    target: Option<Arc<StatementTarget>>,
}

/// The database that statements go to, as OpenTelemetry names it.
struct StatementTarget {
    spans: QuerySpans,
    engine: String,
    system: &'static str,
    namespace: Option<String>,
    address: Option<String>,
    port: Option<u16>,
    durations: Durations,
}

/// A running statement, which its [`Observer`] ends.
pub(super) struct RunningStatement {
    span: Span,
    operation: Option<usize>,
    begun: Instant,
}

impl Observer {
    /// An observer for connections to one of the engine's hosts.
    pub(super) fn new<DB: Backend>(connector: &Connector<DB>, host: usize) -> Self {
        let spans = connector.settings.query_spans;
        let dialect = connector.dialect();
        if spans == QuerySpans::Off && !Durations::ARE_MEASURED {
            return Self {
                dialect,
                target: None,
            };
        }
        let version = connector.known_version();
        let system = (dialect.system)(version.as_deref());
        let (mut namespace, mut address, mut port) = (None, None, None);
        if dialect.session.is_some() {
            let hosts = Hosts::read(&connector.settings.url, dialect.knows_parameter);
            let url = hosts
                .ok()
                .and_then(|hosts| hosts.list.into_iter().nth(host));
            let url = url.map_or_else(|| connector.settings.url.clone(), |host| host.url);
            (namespace, address, port) = names_of(&url);
            port = port.or(dialect.default_port.filter(|_| address.is_some()));
        }
        let engine = connector.settings.engine.clone();
        let durations = Durations::new(
            &engine,
            system,
            namespace.as_deref(),
            address.as_deref(),
            port,
        );
        Self {
            dialect,
            target: Some(Arc::new(StatementTarget {
                spans,
                engine,
                system,
                namespace,
                address,
                port,
                durations,
            })),
        }
    }

    /// Whether statements are observed.
    pub(super) fn is_on(&self) -> bool {
        self.target.is_some()
    }

    /// Whether a statement that begins now gets a span, which calls the program's own subscriber.
    pub(super) fn makes_spans(&self) -> bool {
        self.target
            .as_ref()
            .is_some_and(|target| has_listener(target.spans))
    }

    /// Begins a statement, with a span or without one.
    pub(super) fn begin(
        &self,
        sql: &str,
        begun: Instant,
        has_span: bool,
    ) -> Option<RunningStatement> {
        let target = self.target.as_ref()?;
        let operation = operation_of(sql);
        let span = if has_span {
            target.span(sql, operation)
        } else {
            Span::none()
        };
        Some(RunningStatement {
            span,
            operation,
            begun,
        })
    }

    /// Ends an answered statement, with an error or without one.
    pub(super) fn end(
        &self,
        statement: &RunningStatement,
        error: Option<&sqlx::Error>,
        now: Instant,
    ) {
        let kind = error.map(error_type);
        if let Some(sqlx::Error::Database(error)) = error
            && let Some(code) = error.code()
        {
            statement.span.record("db.response.status_code", &*code);
        }
        self.over(statement, kind.as_deref(), now);
    }

    /// Ends a statement that was dropped before its end.
    pub(super) fn cancel(&self, statement: &RunningStatement) {
        self.over(statement, Some("cancelled"), Instant::now());
    }

    fn over(&self, statement: &RunningStatement, error: Option<&str>, now: Instant) {
        let Some(target) = &self.target else {
            return;
        };
        if let Some(error) = error {
            statement.span.record("error.type", error);
            statement.span.record("otel.status_code", "ERROR");
        }
        let took = now.saturating_duration_since(statement.begun);
        let index = statement.operation;
        target.durations.record(took, index, name_of(index), error);
    }
}

/// The names of database and host, and the port, in a URL.
fn names_of(url: &DatabaseUrl) -> (Option<String>, Option<String>, Option<u16>) {
    let Ok(parsed) = url::Url::parse(url.expose()) else {
        return (None, None, None);
    };
    let path = parsed.path().trim_start_matches('/');
    let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
    let namespace = url.parameter("dbname").unwrap_or_else(|| path.into_owned());
    let host = url
        .parameter("host")
        .or_else(|| Some(parsed.host_str()?.to_owned()));
    let port = url.parameter("port").and_then(|port| port.parse().ok());
    let filled = |text: &String| !text.is_empty();
    let host = host.filter(filled);
    let host = host.map(|host| host.trim_matches(['[', ']']).to_owned());
    (Some(namespace).filter(filled), host, port.or(parsed.port()))
}

/// Whether a subscriber or a logger may want spans of this level. A span without a listener costs some 500 instructions.
fn has_listener(spans: QuerySpans) -> bool {
    let level = match spans {
        QuerySpans::Off => return false,
        QuerySpans::Debug => LevelFilter::DEBUG,
        QuerySpans::Info => LevelFilter::INFO,
    };
    LevelFilter::current() >= level || logging::is_heard_by_log()
}

/// A span of either level, which must be constant in each call of a `tracing` macro.
macro_rules! of_level {
    ($level:expr, $target:literal, $name:literal, $($fields:tt)*) => {
        match $level {
            QuerySpans::Off => Span::none(),
            QuerySpans::Debug => tracing::debug_span!(target: $target, $name, $($fields)*),
            QuerySpans::Info => tracing::info_span!(target: $target, $name, $($fields)*),
        }
    };
}

impl StatementTarget {
    fn span(&self, sql: &str, operation: Option<usize>) -> Span {
        let operation = name_of(operation);
        of_level!(
            self.spans,
            "poolhouse::query",
            "query",
            otel.name = operation.unwrap_or(self.system),
            otel.kind = "client",
            otel.status_code = Empty,
            db.system.name = self.system,
            db.namespace = self.namespace.as_deref(),
            db.operation.name = operation,
            db.query.text = sql,
            db.response.status_code = Empty,
            db.client.connection.pool.name = self.engine.as_str(),
            server.address = self.address.as_deref(),
            server.port = self.port,
            "error.type" = Empty,
        )
    }
}

/// The first words of statements that are reported. Other first words may be any text.
const OPERATIONS: [&str; OPERATIONS_KNOWN] = [
    "SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "MERGE", "REPLACE", "CALL", "COPY", "TRUNCATE",
    "CREATE", "ALTER", "DROP", "BEGIN", "COMMIT", "ROLLBACK", "SET", "SHOW", "EXPLAIN", "LISTEN",
    "NOTIFY", "PRAGMA", "VACUUM", "ANALYZE",
];

/// The index in [`OPERATIONS`] of a statement's first word.
fn operation_of(sql: &str) -> Option<usize> {
    let word = leading_word(sql.trim_start());
    let mut known = OPERATIONS.iter();
    known.position(|known| known.eq_ignore_ascii_case(word))
}

fn name_of(operation: Option<usize>) -> Option<&'static str> {
    OPERATIONS.get(operation?).copied()
}

/// The kind of an error: the database's own code, or a word for an error of the driver.
fn error_type(error: &sqlx::Error) -> String {
    let word = match error {
        sqlx::Error::Database(error) => {
            return error
                .code()
                .map_or_else(|| "database".to_owned(), Cow::into_owned);
        }
        sqlx::Error::Io(_) => "io",
        sqlx::Error::Tls(_) => "tls",
        sqlx::Error::Protocol(_) => "protocol",
        sqlx::Error::RowNotFound => "row_not_found",
        sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => "decode",
        sqlx::Error::Encode(_) => "encode",
        sqlx::Error::WorkerCrashed => "worker_crashed",
        _ => "_OTHER",
    };
    word.to_owned()
}

/// The span of a wait for a checkout.
pub(super) fn wait(spans: QuerySpans, engine: &str) -> Span {
    of_level!(
        spans,
        "poolhouse::pool",
        "wait for a checkout",
        db.client.connection.pool.name = engine,
    )
}

/// The span of a transaction, around its statements and all of its tries.
pub(crate) fn transaction(spans: QuerySpans, engine: &str) -> Span {
    of_level!(
        spans,
        "poolhouse::transaction",
        "transaction",
        db.client.connection.pool.name = engine,
        tries = Empty,
    )
}

#[cfg(test)]
mod tests {
    use super::{name_of, names_of, operation_of};
    use crate::settings::DatabaseUrl;

    #[test]
    fn the_operation_is_the_first_word_of_a_statement() {
        let operation_of = |sql| name_of(operation_of(sql));
        assert_eq!(operation_of("  select 1"), Some("SELECT"));
        assert_eq!(operation_of("COMMIT"), Some("COMMIT"));
        assert_eq!(operation_of("hunter2"), None);
        assert_eq!(operation_of(""), None);
        assert_eq!(operation_of("é"), None);
    }

    #[test]
    fn a_url_names_database_host_and_port() {
        let names = |url: &str| {
            let (database, host, port) = names_of(&DatabaseUrl::parse(url).unwrap());
            format!("{database:?} {host:?} {port:?}").replace("Some", "")
        };
        assert_eq!(
            names("postgres://u:p@db1:5433/bands%20x"),
            r#"("bands x") ("db1") (5433)"#
        );
        assert_eq!(
            names("postgres://u:p@[::1]/bands"),
            r#"("bands") ("::1") None"#
        );
        assert_eq!(
            names("postgres:///bands?host=/run/postgresql"),
            r#"("bands") ("/run/postgresql") None"#
        );
        assert_eq!(names("mysql://db1"), r#"None ("db1") None"#);
    }
}
