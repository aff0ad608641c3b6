//! The settings of a template and the rights on it, for its clones.
//!
//! `CREATE DATABASE … TEMPLATE` copies neither: <https://www.postgresql.org/docs/current/manage-ag-templatedbs.html>.

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

/// Parameters whose values are lists of names, each quoted by itself (`GUC_LIST_QUOTE`).
const LISTS: &str =
    "'search_path', 'temp_tablespaces', 'session_preload_libraries', 'local_preload_libraries'";

/// The part of a template that is stored outside of it, and that its clones need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct NotCopied {
    /// The number of the database's settings: rows of `pg_db_role_setting`.
    pub(super) settings: i64,
    /// Whether rights on the database itself were granted or revoked.
    pub(super) rights: bool,
}

impl NotCopied {
    /// Reads that of the connection's database.
    pub(super) async fn read(connection: &mut PgConnection) -> sqlx::Result<Self> {
        let ask = "SELECT (SELECT count(*) FROM pg_db_role_setting WHERE setdatabase = oid), datacl IS NOT NULL \
            FROM pg_database WHERE datname = current_database()";
        let (settings, rights) = sqlx::query_as(ask).fetch_one(connection).await?;
        Ok(Self { settings, rights })
    }

    /// Whether a copy of the template needs nothing more.
    pub(super) fn is_nothing(self) -> bool {
        self.settings == 0 && !self.rights
    }
}

/// Reads the statements that give a clone the settings of its template and the rights on it.
pub(super) async fn statements(
    connection: &mut PgConnection,
    template: &str,
    clone: &str,
) -> sqlx::Result<Vec<String>> {
    // Rights are granted by the owner, whoever has granted them in the template.
    let sql = format!(
        r#"SELECT statement FROM (
            SELECT 1, setrole::int8, nth, format('ALTER %s SET %s TO %s',
                CASE WHEN setrole = 0 THEN 'DATABASE {clone}' ELSE format('ROLE %I IN DATABASE {clone}', rolname) END,
                (SELECT string_agg(quote_ident(part), '.' ORDER BY n)
                    FROM unnest(string_to_array(key, '.')) WITH ORDINALITY AS p (part, n)),
                CASE WHEN lower(key) IN ({LISTS})
                    THEN coalesce((SELECT string_agg(quote_literal(CASE WHEN one[1] LIKE '"%'
                        THEN replace(substr(one[1], 2, length(one[1]) - 2), '""', '"') ELSE one[1] END), ', ' ORDER BY n)
                        FROM regexp_matches(value, '("(?:[^"]|"")*"|[^, ]+)', 'g') WITH ORDINALITY AS o (one, n)), quote_literal(''))
                    ELSE quote_literal(value) END)
                FROM pg_database JOIN pg_db_role_setting ON setdatabase = pg_database.oid
                LEFT JOIN pg_roles ON pg_roles.oid = setrole,
                unnest(setconfig) WITH ORDINALITY AS s (setting, nth),
                LATERAL (SELECT split_part(setting, '=', 1)) AS k (key),
                LATERAL (SELECT substr(setting, length(key) + 2)) AS v (value)
                WHERE datname = $1
            UNION ALL SELECT 2, 0, 0, format('REVOKE ALL ON DATABASE {clone} FROM PUBLIC, %I', pg_get_userbyid(datdba))
                FROM pg_database WHERE datname = $1 AND datacl IS NOT NULL
            UNION ALL SELECT 3, 0, 0, format('GRANT %s ON DATABASE {clone} TO %s%s', privilege_type,
                CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
                CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
                FROM pg_database, aclexplode(datacl) WHERE datname = $1
        ) AS all_of_them (turn, role, nth, statement) ORDER BY turn, role, nth"#
    );
    sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(template)
        .persistent(false)
        .fetch_all(connection)
        .await
}
