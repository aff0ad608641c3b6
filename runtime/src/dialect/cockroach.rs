//! CockroachDB, a different database with the protocol of Postgres.

use super::postgres::{restore, set_local, store};
use super::statements::Syntax;
use super::{
    Diagnosis, Dialect, IsolationLevel, Local, Mark, POSTGRES, SessionAnswer, SessionCommands,
    inspection,
};

pub(crate) static COCKROACH: Dialect = Dialect {
    name: "CockroachDB",
    system: |_| "cockroachdb",
    default_port: Some(26257),
    inspection: &inspection::COCKROACH,
    feature: "postgres",
    schemes: &["cockroachdb", "cockroach"],
    knows_parameter: |name| (POSTGRES.knows_parameter)(name),
    session: Some(SessionCommands {
        // A schema change inside a transaction is part of it, and does not commit the statements before it:
        // <https://www.cockroachlabs.com/docs/stable/session-variables>.
        identify: "SET autocommit_before_ddl = off; SHOW session_id",
        unknown_to: None,
        read: |answer| SessionAnswer::Id {
            id: answer.into(),
            since: None,
            version: None,
        },
        // <https://www.cockroachlabs.com/docs/stable/cancel-session>
        end: |id, _| format!("CANCEL SESSION IF EXISTS '{id}'"),
        end_denied: |code, _| code == Some("42501"),
        living: None,
    }),
    // Every node reads and writes: <https://www.cockroachlabs.com/docs/stable/architecture/overview>.
    session_state: Some("SELECT current_setting('default_transaction_read_only')::bool::int::int8"),
    hosts_may_be_cut_off: false,
    written: None,
    version: "SELECT version()",
    library: None,
    pooler_sign: None,
    diagnose: |code, message| match code? {
        // <https://www.cockroachlabs.com/docs/stable/node-shutdown>
        "57P01" => Some(Diagnosis::retry(
            "the node is draining",
            "wait for it, or name the other nodes in the url: cockroachdb://node1:26257,node2:26257/database",
        )),
        _ => (POSTGRES.diagnose)(code, message),
    },
    // <https://www.cockroachlabs.com/docs/stable/begin-transaction>
    begin: |options| match options {
        options if options.deferrable => Err("DEFERRABLE"),
        options => (POSTGRES.begin)(options),
    },
    least_isolation: IsolationLevel::ReadCommitted,
    local: Some(Local {
        set: set_local,
        store,
        restore,
        statement_limit: None,
    }),
    begin_commits: false,
    syntax: Syntax::Postgres,
    locks: None,
    remembers_ends: false,
    expects_answer_first: false,
    // <https://www.cockroachlabs.com/docs/stable/transaction-retry-error-reference>: every one of these errors is a 40001.
    conflict: |error| error.code().as_deref() == Some("40001"),
    failed_before: POSTGRES.failed_before,
    conflict_once_begun: &[],
    // A COMMIT outside of a transaction is an error: <https://www.cockroachlabs.com/docs/stable/commit-transaction>. That of
    // a failed transaction is answered as by Postgres.
    mark: Some(Mark {
        set: None,
        check: "SELECT 1",
        commit: "SELECT 1; COMMIT",
    }),
    inside: None,
    lost: |code, _| code == Some("25P01"),
    ends_transaction: POSTGRES.ends_transaction,
    begins_transaction: POSTGRES.begins_transaction,
    is_intact: POSTGRES.is_intact,
    // "Result is ambiguous": <https://www.cockroachlabs.com/docs/stable/common-errors#result-is-ambiguous>
    outcome_unknown: |code, _| code == Some("40003"),
    in_memory: |_| false,
    closes_in_turn: false,
    held_transaction: (
        Some(
            "SET default_transaction_read_only = on; SELECT set_config(name, '0', false) \
             FROM unnest(ARRAY['idle_in_transaction_session_timeout', 'idle_session_timeout', 'idle_in_session_timeout', \
                 'transaction_timeout']) AS limits (name) \
             WHERE current_setting(name, true) <> '0'",
        ),
        "BEGIN READ WRITE; SAVEPOINT poolhouse_test",
    ),
    // The functions for advisory locks exist, but lock nothing:
    // <https://www.cockroachlabs.com/docs/stable/functions-and-operators#compatibility-functions>.
    migrations_lock: None,
    create_extension: None,
};
