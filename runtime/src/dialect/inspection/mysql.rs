//! MySQL and MariaDB.

use super::questions::{How, Idle, Inspection, Rights, ServerTimeout};

pub(in crate::dialect) static MYSQL: Inspection = Inspection {
    // Sessions have no application name, so their user and database replace it. A user without the right PROCESS sees only
    // its own sessions: <https://mariadb.com/kb/en/information-schema-processlist-table/>.
    room: Some(
        "SELECT CAST(CONCAT_WS(' ', @@global.max_connections, -1, @@session.max_user_connections, \
            (SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE COMMAND <> 'Daemon' \
                AND NOT (USER = SUBSTRING_INDEX(USER(), '@', 1) AND DB <=> DATABASE())), \
            COUNT(*), COUNT(DISTINCT SUBSTRING_INDEX(HOST, ':', 1))) AS CHAR) \
         FROM information_schema.PROCESSLIST WHERE USER = SUBSTRING_INDEX(USER(), '@', 1) AND DB <=> DATABASE() \
            AND ID <> CONNECTION_ID()",
    ),
    // <https://mariadb.com/kb/en/server-system-variables/#wait_timeout>
    timeouts: &[ServerTimeout {
        name: "wait_timeout",
        query: "SELECT CAST(@@session.wait_timeout * 1000 AS SIGNED)",
        of: Idle::Outside,
    }],
    // Each user sees its own rights, including those of its roles and those on all databases. The name of a database is a
    // pattern there: <https://mariadb.com/kb/en/information-schema-schema_privileges-table/>.
    rights: Rights {
        how: How::Asked(|_, _| {
            "SELECT CAST(IF(DATABASE() IS NULL, 'the url names no database', IF(EXISTS(\
            SELECT 1 FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE = 'CREATE' \
            UNION ALL SELECT 1 FROM information_schema.SCHEMA_PRIVILEGES \
                WHERE PRIVILEGE_TYPE = 'CREATE' AND DATABASE() LIKE TABLE_SCHEMA), \
            '', CONCAT('the right CREATE on the database ', DATABASE(), ' is missing'))) AS CHAR)"
                .to_owned()
        }),
        cure: "Grant it to the user of the url, or run them as another user",
    },
    // 1146: <https://mariadb.com/kb/en/mariadb-error-code-reference/>.
    is_no_table: |code, _| code == Some("42S02"),
};
