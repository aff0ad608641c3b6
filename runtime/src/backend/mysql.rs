//! MySQL and MariaDB.

use sqlx::MySql;
use sqlx::mysql::{MySqlConnectOptions, MySqlDatabaseError};

use super::Backend;
use crate::dialect::{self, Dialect};
use crate::settings::{DatabaseUrl, EngineSettings};

impl Backend for MySql {
    const KIND: &'static str = "MySQL";

    fn dialect(url: &DatabaseUrl) -> Option<&'static Dialect> {
        dialect::MYSQL
            .schemes
            .contains(&url.scheme())
            .then_some(&dialect::MYSQL)
    }

    fn options(url: &DatabaseUrl, settings: &EngineSettings) -> sqlx::Result<MySqlConnectOptions> {
        let options: MySqlConnectOptions = url.expose().parse()?;
        let options =
            options.statement_cache_capacity(super::options::statement_cache(url, settings));
        Ok(super::options::log_statements(options, settings))
    }

    fn database_of(options: &MySqlConnectOptions) -> Option<String> {
        options.get_database().map(str::to_owned)
    }

    fn refuses_writes(error: &sqlx::Error) -> bool {
        // The server runs with an option (read_only), or in read-only mode:
        // <https://mariadb.com/kb/en/mariadb-error-code-reference/>.
        error
            .as_database_error()
            .and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>())
            .is_some_and(|error| matches!(error.number(), 1290 | 1836))
    }

    fn ends_transaction(error: &sqlx::Error) -> bool {
        // A deadlock, a full table of locks, a conflict of Group Replication, and on MariaDB a snapshot that another transaction
        // has overtaken. After a lock wait timeout, only the statement is rolled back: <https://dev.mysql.com/doc/refman/8.4/en/innodb-error-handling.html>,
        // <https://mariadb.com/kb/en/innodb-system-variables/#innodb_snapshot_isolation>.
        error
            .as_database_error()
            .and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>())
            .is_some_and(|error| matches!(error.number(), 1020 | 1206 | 1213 | 3101))
    }

    fn ends_session(error: &sqlx::Error) -> bool {
        match error {
            // Server shutdown, connection killed, `wait_timeout` on MySQL, and (MariaDB) query limits that end the session:
            // <https://mariadb.com/kb/en/mariadb-error-code-reference/>. 1047 does not end the session, but a node of a
            // Galera cluster gives no other answer once it is cut off from the others:
            // <https://galeracluster.com/library/documentation/quorum-reset.html>. 3032: the server goes into offline mode,
            // <https://dev.mysql.com/doc/refman/8.4/en/server-system-variables.html#sysvar_offline_mode>. After an error of the
            // network, such as a packet above `max_allowed_packet`, the server closes the session:
            // <https://dev.mysql.com/doc/refman/8.4/en/packet-too-large.html>.
            sqlx::Error::Database(error) => error
                .try_downcast_ref::<MySqlDatabaseError>()
                .is_some_and(|error| {
                    matches!(
                        error.number(),
                        1047 | 1053 | 1152..=1161 | 1927 | 3032 | 3169 | 4031
                    )
                }),
            error => super::database::breaks_connection(error),
        }
    }
}
