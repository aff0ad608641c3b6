//! Queries for the code of a database, besides tables and views: triggers, routines, events, rights that were granted on the
//! database by name, and histograms.

use sqlx::mysql::MySqlConnection;

/// Where the names of routines and events are read.
pub(super) enum CodeNames {
    /// The tables `mysql.proc` and `mysql.event` of MariaDB, which a user needs a right to read.
    Tables,
    /// `information_schema`. The server copies each into a temporary table in a file, because they have texts of any length:
    /// <https://mariadb.com/kb/en/aria-storage-engine/>.
    InformationSchema,
}

impl CodeNames {
    /// The tables, if they exist and the user may read them.
    pub(super) async fn of_user(connection: &mut MySqlConnection) -> Self {
        let ask = "SELECT 1 FROM mysql.proc LIMIT 0; SELECT 1 FROM mysql.event LIMIT 0";
        match sqlx::raw_sql(ask).execute(connection).await {
            Ok(_) => Self::Tables,
            Err(_) => Self::InformationSchema,
        }
    }

    /// The statement that lists the names of triggers, routines and events, and the rights. Where there is to be no code, names
    /// are enough, and are found in a fraction of the time.
    pub(super) fn ask(&self, database: &str, has_tables: bool) -> String {
        let (routines, events) = match self {
            Self::Tables => (
                format!("SELECT CAST(name AS CHAR) FROM mysql.proc WHERE db = '{database}'"),
                format!("SELECT CAST(name AS CHAR) FROM mysql.event WHERE db = '{database}'"),
            ),
            Self::InformationSchema => (
                format!("SELECT CAST(routine_name AS CHAR) {}", routines(database)),
                format!("SELECT CAST(event_name AS CHAR) {}", events(database)),
            ),
        };
        let mut all = vec![rights(database), routines, events];
        if has_tables {
            all.push(format!(
                "SELECT CAST(trigger_name AS CHAR) {}",
                triggers(database)
            ));
        }
        all.join(" UNION ALL ")
    }
}

/// Whether the user may read the rights on routines. A user who may grant them usually may.
pub(super) async fn reads_rights(connection: &mut MySqlConnection) -> bool {
    let ask = "SELECT 1 FROM mysql.procs_priv LIMIT 0";
    sqlx::raw_sql(ask).execute(connection).await.is_ok()
}

/// The statements that show triggers and rights in full, and routines and events by name. The rights on routines are shown if the
/// user [may read](reads_rights) them.
pub(super) fn ask_in_full(database: &str, reads_rights: bool) -> Vec<String> {
    let mut all = vec![
        format!(
            "SELECT CAST(CONCAT_WS('\\t', trigger_name, event_manipulation, event_object_table, action_timing, action_statement, \
                sql_mode, definer, character_set_client, collation_connection, database_collation) AS CHAR) {} \
             ORDER BY event_object_table, event_manipulation, action_timing, action_order",
            triggers(database)
        ),
        format!(
            "SELECT CAST(CONCAT_WS('\\t', routine_name, routine_type) AS CHAR) {} ORDER BY 1",
            routines(database)
        ),
        format!(
            "SELECT CAST(event_name AS CHAR) {} ORDER BY 1",
            events(database)
        ),
        rights(database),
    ];
    if reads_rights {
        // A routine takes its rights with it, so that there are none without routines.
        all.push(format!(
            "SELECT CAST(CONCAT_WS('\\t', host, user, routine_name, routine_type, proc_priv) AS CHAR) FROM mysql.procs_priv \
             WHERE db = '{database}' ORDER BY 1"
        ));
    }
    all
}

fn triggers(database: &str) -> String {
    // A trigger is in the database of its table, which is found without reading all others.
    format!(
        "FROM information_schema.triggers WHERE trigger_schema = '{database}' AND event_object_schema = '{database}'"
    )
}

/// The `FROM` clause for the routines of a database.
pub(super) fn routines(database: &str) -> String {
    format!("FROM information_schema.routines WHERE routine_schema = '{database}'")
}

fn events(database: &str) -> String {
    format!("FROM information_schema.events WHERE event_schema = '{database}'")
}

fn rights(database: &str) -> String {
    format!(
        "SELECT CAST(CONCAT_WS('\\t', grantee, privilege_type, is_grantable) AS CHAR) FROM information_schema.schema_privileges \
            WHERE table_schema = '{database}' \
            UNION ALL SELECT CAST(CONCAT_WS('\\t', grantee, privilege_type, is_grantable, table_name) AS CHAR) \
            FROM information_schema.table_privileges WHERE table_schema = '{database}' \
            UNION ALL SELECT CAST(CONCAT_WS('\\t', grantee, privilege_type, is_grantable, table_name, column_name) AS CHAR) \
            FROM information_schema.column_privileges WHERE table_schema = '{database}'{}",
        histograms(database)
    )
}

/// The part of a query for the histograms of MySQL 8, which `ANALYZE TABLE … UPDATE HISTOGRAM` makes. MariaDB, which has no such
/// view, ignores the comment: <https://mariadb.com/kb/en/comment-syntax/>.
fn histograms(database: &str) -> String {
    format!(
        " /*!80003 UNION ALL SELECT CAST(CONCAT_WS('\\t', table_name, column_name, \
            JSON_REMOVE(histogram, '$.\"last-updated\"')) AS CHAR) \
            FROM information_schema.column_statistics WHERE schema_name = '{database}' */"
    )
}
