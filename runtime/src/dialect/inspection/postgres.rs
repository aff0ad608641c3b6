//! Postgres, and CockroachDB as far as it answers the same.

use super::questions::{How, Idle, Inspection, Rights, ServerTimeout};

pub(in crate::dialect) static POSTGRES: Inspection = Inspection {
    // Every user sees the owner and the application name of every session. The other columns, such as the session's kind,
    // are visible only for the user's own sessions:
    // <https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ACTIVITY-VIEW>.
    room: Some(
        "SELECT concat_ws(' ', \
            current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int \
                - coalesce(current_setting('reserved_connections', true)::int, 0), \
            (SELECT datconnlimit FROM pg_database WHERE datname = current_database()), \
            (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user), \
            count(*) FILTER (WHERE NOT ours), count(*) FILTER (WHERE ours), \
            count(DISTINCT coalesce(client_addr::text, 'local')) FILTER (WHERE ours)) \
         FROM (SELECT client_addr, coalesce(usename = current_user AND datname = current_database() \
                   AND application_name = current_setting('application_name'), false) AS ours \
               FROM pg_stat_activity \
               WHERE datid IS NOT NULL AND pid <> pg_backend_pid() \
                   AND coalesce(backend_type, 'client backend') = 'client backend') sessions",
    ),
    // <https://www.postgresql.org/docs/current/runtime-config-client.html>; the second exists from version 14 on.
    timeouts: &[
        ServerTimeout {
            name: "idle_in_transaction_session_timeout",
            query: "SELECT setting::int8 FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout'",
            of: Idle::InTransaction,
        },
        ServerTimeout {
            name: "idle_session_timeout",
            query: "SELECT coalesce((SELECT setting::int8 FROM pg_settings WHERE name = 'idle_session_timeout'), 0)",
            of: Idle::Outside,
        },
    ],
    rights: RIGHTS,
    is_no_table,
};

pub(in crate::dialect) static COCKROACH: Inspection = Inspection {
    // Its nodes share no limit.
    room: None,
    timeouts: &[],
    rights: RIGHTS,
    is_no_table,
};

/// The right to create tables in the current schema: <https://www.postgresql.org/docs/current/ddl-priv.html>
const RIGHTS: Rights = Rights {
    how: How::Asked(
        "SELECT CASE WHEN current_schema() IS NULL THEN 'no schema of search_path exists, or may be used' \
        WHEN NOT has_schema_privilege(current_schema(), 'CREATE') \
            THEN 'the right CREATE on the schema ' || quote_ident(current_schema()) || ' is missing' \
        ELSE '' END",
    ),
    cure: "Grant it to the user of the url, or run them as another user",
};

/// Whether an error is an undefined table or schema: <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn is_no_table(code: Option<&str>, _: &str) -> bool {
    matches!(code, Some("42P01" | "3F000"))
}
