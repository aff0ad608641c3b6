//! MySQL and MariaDB.

use sqlx::error::DatabaseError;

use super::statements::Syntax;
use super::{
    Diagnosis, Dialect, IsolationLevel, Mark, MigrationsLock, SessionAnswer, SessionCommands,
    inspection, sql,
};

/// The server's start time, in seconds since 1970; NULL where it is not reported. Both halves of the difference are of the
/// moment at which the statement began, so that the result is always the same:
/// <https://mariadb.com/kb/en/server-status-variables/#uptime>. MariaDB and MySQL each read their own part and take the
/// other for a comment: <https://mariadb.com/kb/en/comment-syntax/>. The session's variables are read without a look at all
/// the other sessions.
macro_rules! started {
    () => {
        "COALESCE(\
         /*M! (SELECT UNIX_TIMESTAMP() - CAST(VARIABLE_VALUE AS SIGNED) FROM information_schema.SESSION_STATUS \
         WHERE VARIABLE_NAME = 'UPTIME'), */\
         /*!80000 (SELECT UNIX_TIMESTAMP() - CAST(VARIABLE_VALUE AS SIGNED) FROM performance_schema.session_status \
         WHERE VARIABLE_NAME = 'Uptime'), */ NULL)"
    };
}

/// The server's start time and its name, as text without a quote or a space. Another server behind the same address may
/// have been started in the same second. Its start time may be NULL. `server_uuid` exists on MySQL only:
/// <https://dev.mysql.com/doc/refman/8.4/en/replication-options.html#sysvar_server_uuid>.
macro_rules! server {
    () => {
        concat!(
            "CONCAT_WS('-', ",
            started!(),
            ", SHA1(CONCAT_WS(' ', @@global.hostname, @@global.port, @@global.server_id /*!50700 , @@global.server_uuid */)))"
        )
    };
}

pub(crate) static MYSQL: Dialect = Dialect {
    name: "MySQL",
    system: |version| match version {
        Some(version) if version.contains("MariaDB") => "mariadb",
        _ => "mysql",
    },
    default_port: Some(3306),
    inspection: &inspection::MYSQL,
    feature: "mysql",
    schemes: &["mysql", "mariadb"],
    // <https://docs.rs/sqlx/0.9/sqlx/mysql/struct.MySqlConnectOptions.html#parameters>, and the other spellings that the
    // driver accepts.
    knows_parameter: |name| {
        matches!(
            name,
            "sslmode"
                | "ssl-mode"
                | "sslca"
                | "ssl-ca"
                | "sslcert"
                | "ssl-cert"
                | "sslkey"
                | "ssl-key"
                | "charset"
                | "collation"
                | "statement-cache-capacity"
                | "socket"
                | "timezone"
                | "time-zone"
        )
    },
    session: Some(SessionCommands {
        // The session's id, the server, and the version.
        identify: concat!(
            "SELECT CAST(CONCAT_WS(' ', CONNECTION_ID(), ",
            server!(),
            ", VERSION()) AS CHAR)"
        ),
        unknown_to: None,
        read: |answer| {
            let mut words = answer.splitn(3, ' ');
            SessionAnswer::Id {
                id: words.next().unwrap_or_default().into(),
                since: words.next().map(Into::into),
                version: words.next().map(Into::into),
            }
        },
        // <https://mariadb.com/kb/en/kill/>: the id may be a variable and not a query. A running server gives no id twice,
        // but ids begin at 1 again after a restart, and on another server in its place. So a session of a server with
        // another start time or name is not ours. A server that is started between the two statements does not get the second
        // one. There is no session NULL.
        end: |id, since| {
            format!(
                "SET @poolhouse_session = IF({} = '{}', {id}, NULL); KILL CONNECTION @poolhouse_session",
                server!(),
                since.unwrap_or_default()
            )
        },
        // 1095: <https://mariadb.com/kb/en/mariadb-error-code-reference/>.
        end_denied: |_, message| message.starts_with("You are not owner of"),
        // <https://mariadb.com/kb/en/information-schema-processlist-table/>
        living: Some(|ids| {
            format!(
                "SELECT CAST(COALESCE(GROUP_CONCAT(ID SEPARATOR ' '), '') AS CHAR) \
                 FROM information_schema.PROCESSLIST WHERE ID IN ({ids})"
            )
        }),
    }),
    // A server with `read_only` counts as a replica: <https://mariadb.com/kb/en/server-system-variables/#read_only>. From
    // MariaDB 12.0 on, its value is a text with more than one kind of ON. A server that is not in a cluster is not ready for
    // one either: <https://mariadb.com/kb/en/galera-cluster-status-variables/#wsrep_ready>. A server that was built without
    // Galera has no such variable, so that it is looked up.
    session_state: Some(
        "SELECT CAST(IF(CAST(@@global.read_only AS CHAR) IN ('0', 'OFF'), 0, 3) \
         /*M! + IF(EXISTS(SELECT 1 FROM information_schema.SESSION_VARIABLES \
                WHERE VARIABLE_NAME = 'WSREP_ON' AND VARIABLE_VALUE = 'ON') \
            AND EXISTS(SELECT 1 FROM information_schema.SESSION_STATUS \
                WHERE VARIABLE_NAME = 'WSREP_READY' AND VARIABLE_VALUE = 'OFF'), 4, 0) */ AS SIGNED)",
    ),
    hosts_may_be_cut_off: true,
    // MariaDB and MySQL each read their own part and take the other for a comment:
    // <https://mariadb.com/kb/en/comment-syntax/>. A transaction without a GTID is in no set of them.
    written: Some(
        "SELECT CAST(CONCAT(/*M! 'mariadb.', @@global.server_id, '.', REPLACE(@@global.gtid_binlog_pos, ',', '.') */\
         /*!50700 'mysql.', IF(@@global.gtid_mode LIKE 'ON%', \
         REPLACE(REPLACE(@@global.gtid_executed, CHAR(10), ''), ',', '.'), '') */) AS CHAR)",
    ),
    version: "SELECT VERSION()",
    library: None,
    pooler_sign: None,
    // <https://mariadb.com/kb/en/mariadb-error-code-reference/>: the driver gives the SQLSTATE as code. HY000 and 08004 do
    // not distinguish these errors, so the message decides there.
    diagnose: |code, message| {
        Some(match code {
            Some("08004") => Diagnosis::full(
                "the server has too many connections",
                "lower max_size, or raise the server's max_connections",
            ),
            Some("28000") => Diagnosis::fatal(
                "the server rejected the user or the password",
                "correct user and password of the url, or the user's host on the server",
            ),
            // The limit of this user; the server's own limit has the code above.
            Some("42000") if message.contains("max_user_connections") => Diagnosis::full(
                "the server has too many connections of this user",
                "lower max_size, or raise the user's limit of connections",
            ),
            Some("42000") if message.starts_with("Unknown database") => Diagnosis::fatal(
                "the database does not exist",
                "create the database, or correct its name in the url",
            ),
            // The same code as for an error of syntax.
            Some("42000") if message.contains("denied") => Diagnosis::fatal(
                "the user may not use the database",
                "grant the user its rights on the database",
            ),
            _ if message.starts_with("Too many connections") => Diagnosis::full(
                "the server has too many connections",
                "lower max_size, or raise the server's max_connections",
            ),
            // 3032, and its forms with a reason.
            _ if message.starts_with("The server is currently in offline mode") => {
                Diagnosis::retry(
                    "the server is in offline mode",
                    "wait for it, or turn its offline_mode off",
                )
            }
            // 1129, in place of the handshake.
            _ if message.contains("is blocked because of many connection errors") => {
                Diagnosis::retry(
                    "the server has blocked this machine after many connection errors",
                    "unblock it with FLUSH HOSTS (MySQL: TRUNCATE TABLE performance_schema.host_cache)",
                )
            }
            Some("08S01") if message.starts_with("WSREP") => Diagnosis::retry(
                "the node is cut off from its cluster",
                "wait for it, or see why it does not reach the other nodes",
            ),
            _ if message.contains("shutdown") => {
                Diagnosis::retry("the server is shutting down", "wait for the server")
            }
            _ => return None,
        })
    },
    // <https://mariadb.com/kb/en/start-transaction/>, <https://mariadb.com/kb/en/set-transaction/>: the level applies to the
    // next transaction. Both statements go in one packet, so that the next transaction is this one.
    begin: |options| {
        if options.deferrable {
            return Err("DEFERRABLE");
        }
        let level = options
            .isolation
            .map(|level| format!("SET TRANSACTION ISOLATION LEVEL {level}; "));
        let mode = if options.read_only { " READ ONLY" } else { "" };
        let asked = level.is_some() || options.read_only;
        Ok(asked.then(|| format!("{}START TRANSACTION{mode}", level.unwrap_or_default())))
    },
    least_isolation: IsolationLevel::ReadUncommitted,
    local: None,
    begin_commits: true,
    syntax: Syntax::MySql,
    // <https://mariadb.com/kb/en/lock-tables/>
    locks: Some((sql::LOCKS_ON_MYSQL, "UNLOCK TABLES")),
    remembers_ends: false,
    expects_answer_first: true,
    // <https://mariadb.com/kb/en/mariadb-error-code-reference/>: 1213, a deadlock or a certification conflict of Galera, is
    // the only error with SQLSTATE 40001. 1205, a lock wait timeout, and 1020, a record that has changed, have no SQLSTATE of
    // their own. 3101 is a certification conflict of Group Replication:
    // <https://dev.mysql.com/doc/refman/8.4/en/group-replication-limitations.html>.
    conflict: |error| {
        error.code().as_deref() == Some("40001")
            || matches!(number(error), Some(1205 | 1020 | 3101))
    },
    failed_before: None,
    conflict_once_begun: &[],
    // A savepoint ends with its transaction: <https://mariadb.com/kb/en/savepoint/>. 1305 and its SQLSTATE are also those of
    // other missing objects.
    mark: Some(Mark {
        set: Some("SAVEPOINT poolhouse_transaction"),
        check: "RELEASE SAVEPOINT poolhouse_transaction",
        // On MariaDB one statement, <https://mariadb.com/kb/en/begin-end/>. With two, a node of Galera that aborts the
        // transaction after the first takes the second for a statement of its own and repeats it (wsrep_retry_autocommit).
        // It then reports success although nothing is committed. MySQL takes the parts for MariaDB alone as comments.
        commit: "/*M! BEGIN NOT ATOMIC */ RELEASE SAVEPOINT poolhouse_transaction; COMMIT /*M! ; END */",
    }),
    inside: None,
    lost: |code, message| {
        code == Some("42000")
            && ["poolhouse_transaction", sql::DRIVERS_SAVEPOINT]
                .iter()
                .any(|name| message.contains(name))
    },
    ends_transaction: sql::ENDS_ON_MYSQL,
    begins_transaction: sql::BEGINS_ON_MYSQL,
    // Without it each statement begins a transaction, which the next user would not commit.
    is_intact: |text| {
        format!(
            "SELECT CAST(CONCAT('{text}', IF(@@session.autocommit = @@global.autocommit, '', ' autocommit')) AS CHAR)"
        )
    },
    // 1180: a node of Galera lost the others while it sent the transaction to them, or storage failed.
    outcome_unknown: |code, message| {
        code == Some("HY000")
            && (message.starts_with("Error while appending streaming replication fragment")
                || message.ends_with("during COMMIT"))
    },
    in_memory: |_| false,
    closes_in_turn: false,
    held_transaction: (
        Some(
            "SET SESSION TRANSACTION READ ONLY; SET SESSION wait_timeout = 31536000 /*M!100300 , \
             idle_transaction_timeout = 0, idle_write_transaction_timeout = 0 */",
        ),
        "START TRANSACTION READ WRITE; SAVEPOINT poolhouse_test",
    ),
    // The driver's own lock waits for -1 second, which means forever on MySQL and an error without consequence on MariaDB:
    // <https://mariadb.com/kb/en/get_lock/>.
    migrations_lock: Some(MigrationsLock {
        database: "SELECT CAST(COALESCE(DATABASE(), '') AS CHAR)",
        take: |_| {
            "SELECT CAST(COALESCE(GET_LOCK(CONCAT('poolhouse_', SHA1(COALESCE(DATABASE(), ''))), 0), '') AS CHAR)".to_owned()
        },
        give_back: |_| {
            "SELECT CAST(COALESCE(RELEASE_LOCK(CONCAT('poolhouse_', SHA1(COALESCE(DATABASE(), '')))), '') AS CHAR)".to_owned()
        },
        is_drivers: false,
    }),
    create_extension: None,
};

/// The server's number of an error. Its message is in the server's language, `lc_messages`.
fn number(error: &dyn DatabaseError) -> Option<u16> {
    #[cfg(feature = "mysql")]
    {
        let error = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()?;
        Some(error.number())
    }
    #[cfg(not(feature = "mysql"))]
    {
        let _ = error;
        None
    }
}
