//! What becomes of a statement on its way to Postgres.

use std::sync::atomic::Ordering::Relaxed;

use super::Node;

const VERSION: &str =
    "CockroachDB CCL v25.2.0 (x86_64-pc-linux-gnu, built 2025/05/09 00:00:00, go1.23.7)";

/// What a client's statement becomes.
pub(super) enum Becomes {
    /// Another statement, or the same.
    Sql(String),
    /// The end of another session first, and then a statement that does nothing.
    Cancel(String),
}

/// A session's own settings that Postgres does not know.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) autocommit_before_ddl: bool,
}

/// A statement that fails with this code and does nothing else.
pub(super) fn failing(code: &str, message: &str) -> String {
    let message = message.replace('\'', "''");
    format!("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = '{message}'; END $$")
}

/// A conflict, as a statement: after it the transaction is aborted, as it is there.
pub(super) fn conflict() -> String {
    failing(
        "40001",
        "restart transaction: TransactionRetryWithProtoRefreshError: WriteTooOldError: write for key /Table/104/1 at timestamp too old",
    )
}

pub(super) fn translate(
    node: &Node,
    session: &str,
    settings: &mut Settings,
    in_transaction: bool,
    sql: &str,
) -> Becomes {
    node.statements.fetch_add(1, Relaxed);
    let upper = sql.trim_start().to_ascii_uppercase();
    if let Some(id) = upper
        .strip_prefix("CANCEL SESSION")
        .and_then(|rest| rest.split('\'').nth(1))
    {
        return Becomes::Cancel(id.to_ascii_lowercase());
    }
    if upper.contains("PG_TERMINATE_BACKEND") {
        return Becomes::Sql(failing("42883", "unknown function: pg_terminate_backend()"));
    }
    if upper.starts_with("CREATE DATABASE") && upper.contains(" TEMPLATE ") {
        return Becomes::Sql(failing("0A000", "unimplemented: unsupported template"));
    }
    if upper.contains("PG_ADVISORY_") || upper.contains("PG_TRY_ADVISORY_") {
        node.locked.fetch_add(1, Relaxed);
    }
    if upper.starts_with("SET AUTOCOMMIT_BEFORE_DDL") {
        let value = upper.split(['=', ';']).nth(1).unwrap_or_default();
        settings.autocommit_before_ddl = value.trim() == "ON";
    }
    let known: Vec<String> = node.sessions().keys().map(|id| format!("'{id}'")).collect();
    let known = format!(
        "(SELECT unnest(ARRAY[{}]) AS session_id) AS sessions",
        known.join(", ")
    );
    let sql = sql
        // A function that does nothing to anybody.
        .replace("pg_advisory_lock(", "pg_typeof(")
        .replace("pg_advisory_unlock(", "pg_typeof(")
        .replace("[SHOW CLUSTER SESSIONS]", &known)
        .replace("version()", &format!("'{VERSION}'::text"))
        .replace(
            "SHOW session_id",
            &format!("SELECT '{session}' AS session_id"),
        )
        .replace(
            "SET autocommit_before_ddl",
            "SET cockroach.autocommit_before_ddl",
        );
    // Sessions in a database are not in the way of its end.
    let sql = match sql.strip_suffix(" CASCADE") {
        Some(drop) if upper.starts_with("DROP DATABASE") => format!("{drop} WITH (FORCE)"),
        _ => sql,
    };
    let changes_schema = ["CREATE", "ALTER", "DROP", "TRUNCATE"]
        .iter()
        .any(|verb| upper.starts_with(verb));
    if in_transaction && changes_schema && settings.autocommit_before_ddl {
        return Becomes::Sql(format!("COMMIT; {sql}"));
    }
    Becomes::Sql(sql)
}
