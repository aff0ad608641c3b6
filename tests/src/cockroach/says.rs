//! Translates statements for Postgres.

use std::sync::atomic::Ordering::Relaxed;

use super::Node;

const VERSION: &str =
    "CockroachDB CCL v25.2.0 (x86_64-pc-linux-gnu, built 2025/05/09 00:00:00, go1.23.7)";

/// The translation of a client's statement.
pub(super) enum Becomes {
    /// A statement, changed or not.
    Sql(String),
    /// Terminates another session, then runs a statement that does nothing.
    Cancel(String),
}

/// Settings of a session that Postgres does not have.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) autocommit_before_ddl: bool,
}

/// A statement that fails with this code and has no other effect.
pub(super) fn failing(code: &str, message: &str) -> String {
    let message = message.replace('\'', "''");
    format!("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = '{message}'; END $$")
}

/// A statement that fails with a conflict. Afterwards the transaction is aborted, as in
/// CockroachDB.
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
    for function in ["pg_terminate_backend", "pg_postmaster_start_time"] {
        if sql.contains(function) {
            let unknown = format!("unknown function: {function}()");
            return Becomes::Sql(failing("42883", &unknown));
        }
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
        // A function without effect.
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
    // Sessions in a database do not prevent `DROP DATABASE`.
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
