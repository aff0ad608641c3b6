//! Postgres, and CockroachDB as far as it answers the same.

use super::super::text::literal;
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

/// The right to create tables: <https://www.postgresql.org/docs/current/ddl-priv.html>
const RIGHTS: Rights = Rights {
    how: How::Asked(missing_right),
    cure: "Grant it to the user of the url, or run them as another user",
};

/// A query for the right to create the table of migrations, in its schema or else in the current one, and to create schemas.
fn missing_right(table: &str, creates_schemas: bool) -> String {
    if creates_schemas {
        // `CREATE SCHEMA IF NOT EXISTS` needs it for an existing schema too.
        return "SELECT CASE WHEN NOT has_database_privilege(current_database(), 'CREATE') \
            THEN 'the right CREATE on the database ' || quote_ident(current_database()) || ' is missing' ELSE '' END"
            .to_owned();
    }
    let (schema, none) = match schema_of(table) {
        Some(schema) => {
            let schema = literal(schema);
            (
                format!("to_regnamespace({schema})::oid"),
                format!("'the schema ' || {schema} || ' does not exist'"),
            )
        }
        None => (
            "(SELECT oid FROM pg_namespace WHERE nspname = current_schema())".to_owned(),
            "'no schema of search_path exists, or may be used'".to_owned(),
        ),
    };
    format!(
        "SELECT CASE WHEN {schema} IS NULL THEN {none} \
            WHEN NOT has_schema_privilege({schema}, 'CREATE') \
            THEN 'the right CREATE on the schema ' || \
                (SELECT quote_ident(nspname) FROM pg_namespace WHERE oid = {schema}) || ' is missing' \
            ELSE '' END"
    )
}

/// The schema of a table's name, if it has one; a dot between quotes belongs to a name.
fn schema_of(table: &str) -> Option<&str> {
    let mut is_quoted = false;
    let dot = table.rfind(|character| {
        is_quoted ^= character == '"';
        character == '.' && !is_quoted
    })?;
    Some(&table[..dot])
}

/// Whether an error is an undefined table or schema: <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn is_no_table(code: Option<&str>, _: &str) -> bool {
    matches!(code, Some("42P01" | "3F000"))
}

#[cfg(test)]
mod tests {
    use super::schema_of;

    #[test]
    fn a_dot_outside_quotes_ends_the_schema() {
        assert_eq!(schema_of("_sqlx_migrations"), None);
        assert_eq!(schema_of("app._sqlx_migrations"), Some("app"));
        assert_eq!(schema_of("\"my.app\".\"a.b\""), Some("\"my.app\""));
        assert_eq!(schema_of("\"a.b\""), None);
    }
}
