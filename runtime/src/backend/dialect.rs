//! What is known of a database without its driver: names, schemes, the SQL of the pool's own needs, and what its
//! connect errors mean.

use std::borrow::Cow;
use std::io;

use super::told::told;
use crate::engine::TransactionOptions;

/// One database, as plain data.
///
/// It is data and not a trait so that `Any` can pick one by the URL's scheme, and so that an error can speak of a
/// database whose feature is off.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// The name that errors and logs print.
    pub(crate) name: &'static str,
    /// The feature of this crate that turns the database on.
    pub(crate) feature: &'static str,
    /// The schemes of its URLs.
    pub(crate) schemes: &'static [&'static str],
    /// A query for the id by which the server knows this session; `None` when there is no server.
    pub(crate) session_id: Option<&'static str>,
    /// A query for what the server says of itself: 1 when its sessions only read, 2 when it follows another server, 3 when
    /// both, and 0 else. `None` where there are no hosts.
    pub(crate) session_state: Option<&'static str>,
    /// The statement that ends another session.
    pub(crate) end_session: fn(u64) -> Option<String>,
    /// A query for the server's version as text.
    pub(crate) version: &'static str,
    /// A query for 1 where a pooler seems to stand between the driver and the server, and 0 elsewhere.
    pub(crate) pooler_sign: Option<&'static str>,
    /// What a failed connection attempt means.
    pub(crate) diagnose: fn(code: Option<&str>, message: &str) -> Option<Diagnosis>,
    /// The statement that begins a transaction like this, `None` for the driver's own; or the option that there is not.
    pub(crate) begin: fn(&TransactionOptions) -> Result<Option<String>, &'static str>,
    /// Whether an error is a conflict with another transaction, after which the same work may succeed.
    pub(crate) conflict: fn(code: Option<&str>, message: &str) -> bool,
    /// Whether a URL names a database that lives in this process's memory and dies with its last connection.
    pub(crate) in_memory: fn(url: &str) -> bool,
    /// Whether connections say goodbye one after another: the last one has something to do for the database.
    pub(crate) closes_in_turn: bool,
    /// How a connection is held inside a transaction for a whole test: a statement after which every later transaction can
    /// only read, so that nothing gets past this one, and the statement that begins this one.
    pub(crate) hold: (Option<&'static str>, &'static str),
    /// Queries for 1 that take and give back the lock under which migrations run; `None` where the driver's own is enough.
    pub(crate) migrations_lock: Option<(&'static str, &'static str)>,
    /// The statement that creates an extension when it is missing; `None` where there are no extensions.
    pub(crate) create_extension: Option<fn(&str) -> String>,
}

/// What a failed connection attempt means, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    /// Whether the next attempt may succeed without anyone changing anything.
    pub(crate) retry: bool,
    /// What happened, in a few words.
    pub(crate) what: Cow<'static, str>,
    /// What a person can do.
    pub(crate) cure: Cow<'static, str>,
}

impl Diagnosis {
    pub(crate) fn retry(what: &'static str, cure: &'static str) -> Self {
        Self {
            retry: true,
            what: what.into(),
            cure: cure.into(),
        }
    }

    /// Nothing came back at all.
    pub(crate) fn silence() -> Self {
        Self::retry(
            "the server did not answer",
            "check the network between here and the server",
        )
    }

    pub(crate) fn fatal(what: &'static str, cure: &'static str) -> Self {
        Self {
            retry: false,
            what: what.into(),
            cure: cure.into(),
        }
    }
}

/// What the server or the driver says, without what only their own developers can read: the driver's code and the line
/// of the server's source.
pub(crate) fn words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        // Our own words, not the driver's.
        sqlx::Error::Io(error) if told(error).is_some() => error.to_string(),
        error => error.to_string(),
    }
}

impl Dialect {
    /// Whether an error is a conflict with another transaction.
    pub(crate) fn is_conflict(&self, error: &sqlx::Error) -> bool {
        error
            .as_database_error()
            .is_some_and(|error| (self.conflict)(error.code().as_deref(), error.message()))
    }

    /// Reads a connect error: the database's own codes first, then what every network has in common.
    pub(crate) fn diagnosis(&self, error: &sqlx::Error) -> Diagnosis {
        match error {
            sqlx::Error::Database(database) => {
                (self.diagnose)(database.code().as_deref(), database.message()).unwrap_or_else(
                    || {
                        Diagnosis::fatal(
                            "the server rejected the connection",
                            "see the server's message and its log",
                        )
                    },
                )
            }
            sqlx::Error::Io(error) => told(error).unwrap_or_else(|| io_diagnosis(error)),
            sqlx::Error::Tls(_) => Diagnosis::fatal(
                "the TLS handshake failed",
                "check the server's certificate and the sslmode (MySQL: ssl-mode) of the url",
            ),
            sqlx::Error::Configuration(_) => Diagnosis::fatal(
                "the driver does not accept the connect options",
                "correct the url, its query parameters and the files that they name",
            ),
            _ => Diagnosis::fatal(
                "the connection could not be opened",
                "see the driver's message",
            ),
        }
    }
}

fn io_diagnosis(error: &io::Error) -> Diagnosis {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Diagnosis::retry(
            "the server refused the connection",
            "start the server, or correct host and port of the url",
        ),
        io::ErrorKind::NotFound => Diagnosis::retry(
            "the server's socket does not exist",
            "start the server, or correct the socket path of the url",
        ),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => Diagnosis::retry(
            "the server ended the connection while it was being opened",
            "see the server's log; a proxy without a server behind it does this too",
        ),
        io::ErrorKind::TimedOut => Diagnosis::retry(
            "the server did not answer in time",
            "check the network between here and the server, or raise connect_timeout",
        ),
        io::ErrorKind::PermissionDenied => Diagnosis::fatal(
            "the operating system denied access",
            "check the rights of the file or socket that the url names",
        ),
        _ => Diagnosis::fatal(
            "the connection could not be opened",
            "check host and port of the url and the network",
        ),
    }
}

/// Postgres, and what speaks its protocol.
pub(crate) static POSTGRES: Dialect = Dialect {
    name: "Postgres",
    feature: "postgres",
    schemes: &["postgres", "postgresql"],
    session_id: Some("SELECT pg_backend_pid()::int8"),
    // <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-TARGET-SESSION-ATTRS>
    session_state: Some(
        "SELECT (current_setting('default_transaction_read_only')::bool::int + 2 * pg_is_in_recovery()::int)::int8",
    ),
    // <https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-SIGNAL>
    // The process id may be another session's by now, so only one that looks like ours is ended.
    end_session: |id| {
        Some(format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE pid = {id} AND usename = current_user AND datname = current_database()"
        ))
    },
    version: "SHOW server_version",
    // The driver's start-up packet sets the encoding, and the server knows that it came from the client. A pooler has a
    // start-up packet of its own, and sets later what it knows of its clients' wishes.
    // <https://www.postgresql.org/docs/current/view-pg-settings.html>
    pooler_sign: Some(
        "SELECT count(*) FROM pg_settings WHERE name = 'client_encoding' AND source <> 'client'",
    ),
    // <https://www.postgresql.org/docs/current/errcodes-appendix.html>
    diagnose: |code, _| {
        Some(match code? {
            "57P03" => Diagnosis::retry(
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
    // <https://www.postgresql.org/docs/current/mvcc-serialization-failure-handling.html>
    conflict: |code, _| matches!(code, Some("40001" | "40P01")),
    in_memory: |_| false,
    closes_in_turn: false,
    hold: (
        Some("SET default_transaction_read_only = on"),
        "BEGIN READ WRITE",
    ),
    migrations_lock: None,
    create_extension: Some(|name| {
        format!(
            "CREATE EXTENSION IF NOT EXISTS \"{}\"",
            name.replace('"', "\"\"")
        )
    }),
};

/// MySQL and MariaDB.
pub(crate) static MYSQL: Dialect = Dialect {
    name: "MySQL",
    feature: "mysql",
    schemes: &["mysql", "mariadb"],
    session_id: Some("SELECT CAST(CONNECTION_ID() AS SIGNED)"),
    // A replica is one that the operator lets only read: <https://mariadb.com/kb/en/server-system-variables/#read_only>.
    session_state: Some("SELECT CAST(IF(@@global.read_only, 3, 0) AS SIGNED)"),
    // <https://mariadb.com/kb/en/kill/>
    end_session: |id| Some(format!("KILL CONNECTION {id}")),
    version: "SELECT VERSION()",
    pooler_sign: None,
    // <https://mariadb.com/kb/en/mariadb-error-code-reference/>: the driver gives the SQLSTATE as code, which does not
    // tell these apart where it is HY000 or 08004, so the message's own words decide there.
    diagnose: |code, message| {
        Some(match code {
            Some("08004") => Diagnosis::retry(
                "the server has too many connections",
                "lower max_size, or raise the server's max_connections",
            ),
            Some("28000") => Diagnosis::fatal(
                "the server rejected the user or the password",
                "correct user and password of the url, or the user's host on the server",
            ),
            // Of the one user; the server's own limit has the code above.
            Some("42000") if message.contains("max_user_connections") => Diagnosis::retry(
                "the server has too many connections of this user",
                "lower max_size, or raise the user's limit of connections",
            ),
            Some("42000") if message.starts_with("Unknown database") => Diagnosis::fatal(
                "the database does not exist",
                "create the database, or correct its name in the url",
            ),
            Some("42000") => Diagnosis::fatal(
                "the user may not use the database",
                "grant the user its rights on the database",
            ),
            _ if message.starts_with("Too many connections") => Diagnosis::retry(
                "the server has too many connections",
                "lower max_size, or raise the server's max_connections",
            ),
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
    // <https://mariadb.com/kb/en/start-transaction/>, <https://mariadb.com/kb/en/set-transaction/>: the level is that of the
    // next transaction. Both go in one packet, so that it cannot become somebody else's.
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
    // <https://mariadb.com/kb/en/mariadb-error-code-reference/>: 1213, a deadlock or a certification conflict of Galera, is
    // the only one of SQLSTATE 40001. 1205 has no SQLSTATE of its own.
    conflict: |code, message| match code {
        Some("40001") => true,
        Some("HY000") => message.starts_with("Lock wait timeout exceeded"),
        _ => false,
    },
    in_memory: |_| false,
    closes_in_turn: false,
    hold: (
        Some("SET SESSION TRANSACTION READ ONLY"),
        "START TRANSACTION READ WRITE",
    ),
    // The driver's own waits for -1 second, which is for ever on MySQL and an error without consequence on MariaDB; so this
    // one is for a year: <https://mariadb.com/kb/en/get_lock/>.
    migrations_lock: Some((
        "SELECT CAST(COALESCE(GET_LOCK(CONCAT('poolhouse_', SHA1(COALESCE(DATABASE(), ''))), 31536000), 0) AS SIGNED)",
        "SELECT CAST(COALESCE(RELEASE_LOCK(CONCAT('poolhouse_', SHA1(COALESCE(DATABASE(), '')))), 0) AS SIGNED)",
    )),
    create_extension: None,
};

/// SQLite: a file, or memory.
pub(crate) static SQLITE: Dialect = Dialect {
    name: "SQLite",
    feature: "sqlite",
    schemes: &["sqlite"],
    session_id: None,
    session_state: None,
    end_session: |_| None,
    version: "SELECT sqlite_version()",
    pooler_sign: None,
    // <https://www.sqlite.org/rescode.html>
    diagnose: |code, _| {
        Some(match code? {
            "14" | "526" | "782" | "1038" => Diagnosis::fatal(
                "the database file cannot be opened",
                "create its folder and give this user the right to write there (SQLite writes files beside the database), \
                 or add ?mode=rwc to the url when the file is to be created",
            ),
            "8" | "264" | "520" | "776" | "1032" | "1288" | "1544" => Diagnosis::fatal(
                "the database file or its folder is read-only",
                "give this user the right to write to the file and its folder, or add ?mode=ro to the url",
            ),
            "26" => Diagnosis::fatal(
                "the file is not a SQLite database",
                "correct the path in the url",
            ),
            "5" | "261" => {
                Diagnosis::retry("another process has locked the database", "wait for it")
            }
            _ => return None,
        })
    },
    // <https://www.sqlite.org/lang_transaction.html>: each is serializable.
    begin: |options| match options {
        options if options.deferrable => Err("DEFERRABLE"),
        options if options.read_only => Err("READ ONLY"),
        _ => Ok(None),
    },
    // A reader that wants to write has to begin anew: <https://www.sqlite.org/rescode.html#busy_snapshot>.
    conflict: |code, _| code == Some("517"),
    // <https://www.sqlite.org/inmemorydb.html>
    in_memory: |url| url.contains(":memory:") || url.contains("mode=memory"),
    // The last connection writes the write-ahead log back and removes it. Two that close at the same moment each see the
    // other, and both leave it: <https://www.sqlite.org/wal.html#the_wal_file>
    closes_in_turn: true,
    // The file is the test's own.
    hold: (None, "BEGIN"),
    migrations_lock: None,
    create_extension: None,
};
