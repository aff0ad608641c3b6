//! What Postgres and CockroachDB have in common, because one speaks the other's protocol.

use super::{Diagnosis, TransactionOptions};

/// The URL parameters that the driver knows:
/// <https://docs.rs/sqlx/0.9/sqlx/postgres/struct.PgConnectOptions.html#parameters>, and the other spellings that it takes.
pub(super) fn knows_parameter(name: &str) -> bool {
    name.starts_with("options[")
        || matches!(
            name,
            "sslmode"
                | "ssl-mode"
                | "sslrootcert"
                | "ssl-root-cert"
                | "ssl-ca"
                | "sslcert"
                | "ssl-cert"
                | "sslkey"
                | "ssl-key"
                | "statement-cache-capacity"
                | "host"
                | "hostaddr"
                | "port"
                | "dbname"
                | "user"
                | "password"
                | "application_name"
                | "options"
        )
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
pub(super) fn diagnose(code: Option<&str>, _: &str) -> Option<Diagnosis> {
    Some(match code? {
        "57P01" | "57P03" => Diagnosis::retry(
            "the server is starting up or shutting down",
            "wait for the server",
        ),
        "53300" => Diagnosis::retry(
            "the server has too many clients",
            "lower max_size, raise the server's max_connections, or put a pooler in front",
        ),
        "28P01" | "28000" => Diagnosis::fatal(
            "the server rejected the user or the password",
            "correct user and password of the url, or the server's pg_hba.conf",
        ),
        "3D000" => Diagnosis::fatal(
            "the database does not exist",
            "create the database, or correct its name in the url",
        ),
        "42501" => Diagnosis::fatal(
            "the user may not connect",
            "grant CONNECT on the database to the user",
        ),
        _ => return None,
    })
}

/// <https://www.postgresql.org/docs/current/sql-begin.html>
pub(super) fn begin(options: &TransactionOptions) -> Option<String> {
    let level = options
        .isolation
        .map(|level| format!(" ISOLATION LEVEL {level}"));
    let mode = if options.read_only { " READ ONLY" } else { "" };
    let defer = if options.deferrable {
        " DEFERRABLE"
    } else {
        ""
    };
    let asked = format!("{}{mode}{defer}", level.unwrap_or_default());
    (!asked.is_empty()).then(|| format!("BEGIN{asked}"))
}

/// The words that end a transaction.
pub(super) const ENDS_TRANSACTION: &[&str] = &["COMMIT", "END", "ROLLBACK", "ABORT"];
