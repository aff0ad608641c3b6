//! Drops the objects that a test has made in the schema.
//!
//! Dropping a few tables costs a tenth of a new copy of the template. The caller then checks all catalogs, to see whether
//! the schema is that of the template.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};

use super::objects::{COMPILED, NAMESPACES, OF_USERS, STAYS_COMPILED};
use super::since::{Since, younger};
use crate::testing::server::execute;

/// The most objects to drop: dropping so many tables takes about as long as replacing the database by a new copy.
const MOST: usize = 100;

/// How long a drop waits for a lock. No session should hold one any more.
const LOCK_TIMEOUT: &str = "1s";

/// Drops the objects younger than the lease, in the current transaction, and notes whether the session may keep data of them; false
/// when there are none, or too many.
///
/// # Errors
///
/// The server refuses to drop an object, most often because another one needs it.
pub(super) async fn drop_younger(
    connection: &mut PgConnection,
    since: &mut Since,
) -> sqlx::Result<bool> {
    let row = sqlx::raw_sql(AssertSqlSafe(drops(since.xid)))
        .fetch_one(&mut *connection)
        .await?;
    let Some(drops) = row.try_get::<Option<String>, _>(0)? else {
        return Ok(false);
    };
    since.keeps_data |= row.try_get::<bool, _>(1)?;
    // An object may already be dropped with an earlier one. The notices about that are not needed.
    let quietly =
        format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; SET LOCAL client_min_messages = error");
    execute(connection, format!("{quietly}; {drops}")).await?;
    Ok(true)
}

/// A query for the statements that drop the objects which can be dropped by themselves, and for whether an extension is among them,
/// or a type that a compiled function may keep. Other young rows, such as those of a trigger on a table of the template or of the
/// altered table, are found by the check of the catalogs.
fn drops(since: u64) -> String {
    let [young, young_class, young_table, young_type, young_routine] =
        ["xmin", "c.xmin", "owner.xmin", "t.xmin", "p.xmin"].map(|xmin| younger(xmin, since));
    format!(
        "SELECT CASE WHEN count(*) <= {MOST} THEN \
            string_agg(format('DROP %s IF EXISTS %s CASCADE', kind, name), '; ' ORDER BY turn, oid) END, \
            bool_or(kind = 'EXTENSION') OR {COMPILED} AND EXISTS ( \
                SELECT FROM pg_type t WHERE {young_type} AND {STAYS_COMPILED}) \
            FROM ( \
            SELECT 1, oid, 'SCHEMA', quote_ident(nspname) FROM pg_namespace WHERE {NAMESPACES} AND {young} \
            UNION ALL SELECT 2, oid, 'EXTENSION', quote_ident(extname) FROM pg_extension WHERE {young} \
            UNION ALL SELECT 3, c.oid, \
                CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' \
                    WHEN 'c' THEN 'TYPE' WHEN 'i' THEN 'INDEX' WHEN 'I' THEN 'INDEX' ELSE 'TABLE' END, \
                format('%I.%I', n.nspname, c.relname) \
                FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'c', 'i', 'I') AND c.relpersistence <> 't' \
                AND {OF_USERS} AND {young_class} \
                AND NOT EXISTS (SELECT FROM pg_index i JOIN pg_class owner ON owner.oid = i.indrelid \
                    WHERE i.indexrelid = c.oid AND {young_table}) \
            UNION ALL SELECT 4, t.oid, 'TYPE', t.oid::regtype::text FROM pg_type t \
                JOIN pg_namespace n ON n.oid = t.typnamespace \
                WHERE t.typtype IN ('d', 'e', 'r') AND {OF_USERS} AND {young_type} \
            UNION ALL SELECT 5, p.oid, 'ROUTINE', p.oid::regprocedure::text FROM pg_proc p \
                JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {OF_USERS} AND {young_routine} \
         ) AS made (turn, oid, kind, name)"
    )
}
