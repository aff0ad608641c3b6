//! Postgres, and servers that behave as it does.

use std::time::Duration;

use crc::{CRC_32_ISO_HDLC, Crc};

use super::statements::Syntax;
use super::{
    Diagnosis, Dialect, IsolationLevel, Local, Mark, MigrationsLock, SessionAnswer,
    SessionCommands, inspection, sql,
};

pub(crate) static POSTGRES: Dialect = Dialect {
    name: "Postgres",
    system: |_| "postgresql",
    default_port: Some(5432),
    inspection: &inspection::POSTGRES,
    feature: "postgres",
    schemes: &["postgres", "postgresql"],
    // <https://docs.rs/sqlx/0.9/sqlx/postgres/struct.PgConnectOptions.html#parameters>, and the other spellings that the
    // driver accepts.
    knows_parameter: |name| {
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
    },
    session: Some(SessionCommands {
        // The session's id, the server's time and start, and the version. Besides, where the server can notice a lost client
        // while a statement runs or waits for a lock, and no interval for that is set, this sets two seconds: then the pool has
        // room again even if it could not open a session to terminate the lost one.
        // <https://www.postgresql.org/docs/current/runtime-config-connection.html#GUC-CLIENT-CONNECTION-CHECK-INTERVAL>
        identify: "SELECT pg_backend_pid()::text || ' ' || extract(epoch FROM clock_timestamp())::text \
                || '/' || extract(epoch FROM pg_postmaster_start_time())::numeric::text || ' ' || version() \
                || CASE WHEN current_setting('client_connection_check_interval', true) = '0' AND version() LIKE '%linux%' \
                   THEN left(set_config('client_connection_check_interval', '2000', false), 0) ELSE '' END",
        // CockroachDB does not list `pg_postmaster_start_time` among its functions.
        unknown_to: Some(("42883", "CockroachDB")),
        // <https://www.cockroachlabs.com/docs/stable/functions-and-operators#system-info-functions>
        read: |answer| {
            let mut words = answer.splitn(3, ' ');
            let id = words.next().unwrap_or_default().into();
            let since = words.next().map(Into::into);
            match words.next() {
                Some(version) if version.starts_with("CockroachDB") => {
                    SessionAnswer::OtherDatabase("CockroachDB")
                }
                version => SessionAnswer::Id {
                    id,
                    since,
                    version: version.and_then(server_version),
                },
            }
        },
        // <https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-SIGNAL>
        // The process id may be that of another session by now: a session that began after `since` is not ours, and none is on a
        // server with another start.
        end: |id, since| {
            // A user does not see when the session of another user began, who may be one that `before_connect` gave before. The
            // statement is an error then, with the second name in it. <https://www.postgresql.org/docs/current/monitoring-stats.html>
            let Some((since, server)) = since.and_then(|since| since.split_once('/')) else {
                return format!(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                     WHERE pid = {id} AND usename = current_user AND datname = current_database()"
                );
            };
            format!(
                "SELECT CASE WHEN backend_start IS NULL THEN current_setting('poolhouse.hidden_session')::bool \
                 ELSE pg_terminate_backend(pid) END FROM pg_stat_activity \
                 WHERE pid = {id} AND datname = current_database() \
                 AND extract(epoch FROM pg_postmaster_start_time())::numeric = {server} \
                 AND (backend_start IS NULL OR backend_start <= to_timestamp({since}))"
            )
        },
        end_denied: |code, message| {
            code == Some("42501") || message.contains("poolhouse.hidden_session")
        },
        living: Some(|ids| {
            format!(
                "SELECT coalesce(string_agg(pid::text, ' '), '') FROM pg_stat_activity WHERE pid IN ({ids})"
            )
        }),
    }),
    // <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-TARGET-SESSION-ATTRS>
    session_state: Some(
        "SELECT (current_setting('default_transaction_read_only')::bool::int + 2 * pg_is_in_recovery()::int)::int8",
    ),
    hosts_may_be_cut_off: false,
    // The insert position and not the write position: with `synchronous_commit = off` a commit is answered before its record
    // is written. At a position right behind the header of a page (24 bytes) or a file (40 bytes), nothing was inserted
    // since the page before it, and a replica does not get past that page:
    // <https://github.com/postgres/postgres/blob/master/src/include/access/xlog_internal.h>.
    written: Some(
        "SELECT concat_ws('.', 'postgres', (SELECT system_identifier FROM pg_control_system()), \
                          ('x' || left(file_name, 8))::bit(32)::int8, at - '0/0'::pg_lsn \
                          - CASE WHEN file_offset = 40 THEN 40 \
                                 WHEN file_offset % current_setting('wal_block_size')::int = 24 THEN 24 ELSE 0 END) \
         FROM pg_current_wal_insert_lsn() AS at, LATERAL pg_walfile_name_offset(at)",
    ),
    version: "SHOW server_version",
    library: None,
    // The driver's start-up packet sets the encoding, and the server knows that it came from the client. A pooler has its
    // own start-up packet, and sets the parameters of its clients later.
    // <https://www.postgresql.org/docs/current/view-pg-settings.html>
    pooler_sign: Some(
        "SELECT count(*) FROM pg_settings WHERE name = 'client_encoding' AND source <> 'client'",
    ),
    // <https://www.postgresql.org/docs/current/errcodes-appendix.html>
    diagnose: |code, message| {
        Some(match code? {
            "53100" => Diagnosis::fatal_here(
                "the server's disk is full",
                "make room on the server's disk",
            ),
            // The first session of a new database writes a file. A disk without room for it has no error code of its own.
            "XX000" if message.contains("init file") => Diagnosis::fatal_here(
                "the server could not write a file of the database",
                "make room on the server's disk",
            ),
            "57P01" | "57P03" => Diagnosis::retry(
                "the server is starting up or shutting down",
                "wait for the server",
            ),
            "53300" => Diagnosis::full(
                "the server has too many clients",
                "lower max_size, raise the server's max_connections, or put a pooler in front",
            ),
            // pgbouncer has this code for each of its own errors: <https://www.pgbouncer.org/config.html>, `max_client_conn`,
            // `max_db_connections`, `server_login_retry`, `client_login_timeout`, `query_wait_timeout`.
            "08P01" if message.contains("no more connections") => Diagnosis::full(
                "the pooler has too many clients",
                "lower max_size, or raise max_client_conn of pgbouncer",
            ),
            "08P01"
                if [
                    "server_login_retry",
                    "server down",
                    "server conn crashed",
                    "server login",
                    "shutting down",
                    "query_wait_timeout",
                ]
                .iter()
                .any(|words| message.contains(words)) =>
            {
                Diagnosis::retry(
                    "the pooler has no session on its server",
                    "start the server behind the pooler, or see the pooler's log",
                )
            }
            // It has ended the client's session with this error.
            "08P01" if message.contains("statement pooling mode") => Diagnosis::fatal(
                "the pooler is in statement mode, in which it allows no transaction",
                "set pool_mode = transaction (or session) in the configuration of pgbouncer",
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
    },
    // <https://www.postgresql.org/docs/current/sql-begin.html>
    begin: |options| {
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
        Ok((!asked.is_empty()).then(|| format!("BEGIN{asked}")))
    },
    least_isolation: IsolationLevel::ReadCommitted,
    local: Some(Local {
        set: set_local,
        store,
        restore,
        statement_limit: Some(limit_statements),
    }),
    begin_commits: false,
    syntax: Syntax::Postgres,
    locks: None,
    remembers_ends: false,
    expects_answer_first: false,
    // <https://www.postgresql.org/docs/current/mvcc-serialization-failure-handling.html>
    conflict: |error| matches!(error.code().as_deref(), Some("40001" | "40P01")),
    // <https://www.postgresql.org/docs/current/errcodes-appendix.html>
    failed_before: Some("25P02"),
    conflict_once_begun: &[],
    // The mark is a setting and not a savepoint. With a savepoint, a transaction would need a second id, and could no longer
    // choose its isolation level: <https://www.postgresql.org/docs/current/sql-set.html>,
    // <https://www.postgresql.org/docs/current/runtime-config-custom.html>. No setting has the second name, so that the
    // error contains it, whatever the language of the server's messages.
    mark: Some(Mark {
        set: Some("SET LOCAL poolhouse.transaction = 'open'"),
        check: "SELECT CASE WHEN pg_catalog.current_setting('poolhouse.transaction', true) OPERATOR(pg_catalog.=) 'open' \
                THEN '' ELSE pg_catalog.current_setting('poolhouse.lost_transaction') END",
        commit: "SELECT CASE WHEN pg_catalog.current_setting('poolhouse.transaction', true) OPERATOR(pg_catalog.=) 'open' \
             THEN '' ELSE pg_catalog.current_setting('poolhouse.lost_transaction') END; COMMIT",
    }),
    inside: None,
    // <https://www.postgresql.org/docs/current/errcodes-appendix.html>: a savepoint outside of any transaction.
    lost: |code, message| {
        code == Some("25P01")
            || (code == Some("42704") && message.contains("poolhouse.lost_transaction"))
    },
    ends_transaction: sql::ENDS_ON_POSTGRES,
    begins_transaction: sql::BEGINS,
    is_intact: sql::echo,
    // <https://www.postgresql.org/docs/current/errcodes-appendix.html>: transaction resolution, statement completion unknown.
    outcome_unknown: |code, _| matches!(code, Some("08007" | "40003")),
    in_memory: |_| false,
    closes_in_turn: false,
    held_transaction: (
        Some(
            "SET default_transaction_read_only = on; SELECT set_config(name, '0', false) \
             FROM unnest('{idle_in_transaction_session_timeout, idle_session_timeout, transaction_timeout}'::text[]) AS name \
             WHERE current_setting(name, true) <> '0'",
        ),
        "BEGIN READ WRITE; SAVEPOINT poolhouse_test",
    ),
    // A program that runs its migrations with sqlx alone takes the same lock.
    migrations_lock: Some(MigrationsLock {
        database: "SELECT current_database()::text",
        take: |database| {
            let id = lock_of_migrations(database);
            format!("SELECT CASE WHEN pg_try_advisory_lock({id}) THEN '1' ELSE '0' END")
        },
        give_back: |database| {
            let id = lock_of_migrations(database);
            format!("SELECT CASE WHEN pg_advisory_unlock({id}) THEN '1' ELSE '0' END")
        },
        is_drivers: true,
    }),
    create_extension: Some(|name| {
        format!(
            "CREATE EXTENSION IF NOT EXISTS \"{}\"",
            name.replace('"', "\"\"")
        )
    }),
};

/// The id of the lock that sqlx takes for migrations in this database.
fn lock_of_migrations(database: &str) -> i64 {
    const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

    0x3d32_ad9e * i64::from(CRC.checksum(database.as_bytes()))
}

/// The answer of `SHOW server_version`, from that of `version()`: `PostgreSQL 16.4 (Debian 16.4-1) on x86_64…`.
fn server_version(version: &str) -> Option<String> {
    let (version, _) = version.strip_prefix("PostgreSQL ")?.split_once(" on ")?;
    Some(version.to_owned())
}

/// Statements that set settings for the transaction. They use a function and not `SET LOCAL`, whose syntax depends on the
/// setting: <https://www.postgresql.org/docs/current/functions-admin.html>.
pub(super) fn set_local(settings: &[(String, String)]) -> String {
    let set = settings
        .iter()
        .map(|(name, value)| set_config(&literal(name), &literal(value)));
    set.collect::<Vec<String>>().join("; ")
}

/// Statements that store the current values in settings of our own.
pub(super) fn store(settings: &[(String, String)], depth: usize) -> String {
    let store = settings.iter().enumerate().map(|(index, (name, _))| {
        let name = literal(name);
        let former = format!("coalesce(pg_catalog.current_setting({name}, true), '')");
        set_config(&former_name(depth, index), &former)
    });
    store.collect::<Vec<String>>().join("; ")
}

/// Restores the values that [`store`] has stored.
pub(super) fn restore(settings: &[(String, String)], depth: usize) -> String {
    let restore = settings.iter().enumerate().map(|(index, (name, _))| {
        let former = former_name(depth, index);
        set_config(
            &literal(name),
            &format!("pg_catalog.current_setting({former})"),
        )
    });
    restore.collect::<Vec<String>>().join("; ")
}

fn former_name(depth: usize, index: usize) -> String {
    format!("'poolhouse.former_{depth}_{index}'")
}

fn set_config(name: &str, value: &str) -> String {
    format!("SELECT pg_catalog.set_config({name}, {value}, true)")
}

/// Limits each statement of the transaction, unless the session's limit is lower:
/// <https://www.postgresql.org/docs/current/runtime-config-client.html>.
fn limit_statements(limit: Duration) -> String {
    // Zero would mean no limit.
    let limit = limit.as_millis().clamp(1, i32::MAX.unsigned_abs().into());
    let session = "pg_catalog.current_setting('statement_timeout')";
    let limit = format!(
        "CASE WHEN {session} = '0' OR {session}::interval > '{limit} milliseconds'::interval THEN '{limit}' ELSE {session} END"
    );
    set_config("'statement_timeout'", &limit)
}

/// A text as a literal, whatever `standard_conforming_strings` is.
/// <https://www.postgresql.org/docs/current/sql-syntax-lexical.html>
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
