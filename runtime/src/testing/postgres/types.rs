//! The types that the driver caches for a connection.
//!
//! The driver queries the types that it does not know: those of the database, and some of the server, such as `regclass` and
//! the domains of `information_schema`. It keeps the answers as long as the connection, and nothing removes them:
//! `clear_cached_statements` removes the names alone. A connection with such a type differs from a new one. A query of the
//! simple protocol, which never resolves types, then decodes another column type, and the cached name depends on the
//! `search_path` of an earlier test.
//!
//! A query of the simple protocol shows what is cached: the type of a column has the name [`UNKNOWN`] as long as the driver has
//! not resolved it. The driver resolves a type after those that it consists of (the element of an array, the base of a domain,
//! the attributes of a composite type). So only types that do not consist of other unknown types are probed. Domains are not:
//! the server gives the type of their base to a column, so that the driver's knowledge of a domain alone is not seen in rows.
//!
//! The names of tables and columns, which the driver caches for `prepare` and `describe`, are not compared.

use std::collections::HashSet;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Column, Row, TypeInfo};

use super::objects::{FIRST_OF_USERS, NAMESPACES};

/// The driver's name for a type that it has not resolved.
const UNKNOWN: &str = "?";

/// The most types in one query: Postgres allows 1664 columns.
const MOST: usize = 1000;

/// A query for the types that a column can have: the number; the SQL of a NULL of this type; whether the type is not the
/// server's own and may be altered; and the numbers of the types that it consists of.
///
/// A constraint of a domain may not allow NULL, so that the NULL of a domain must not be evaluated. Other pseudo-types than
/// these two are not types of columns.
fn candidates() -> String {
    format!(
        "SELECT t.oid::int8, \
            format(CASE typtype WHEN 'd' THEN '(SELECT NULL::%I.%I WHERE false)' ELSE 'NULL::%I.%I' END, nspname, typname), \
            t.oid >= {FIRST_OF_USERS} AND typtype <> 'd' AND NOT (typtype = 'b' AND typcategory = 'A'), \
            CASE WHEN typtype = 'b' AND typcategory = 'A' THEN ARRAY[typelem::int8] \
                WHEN typtype = 'd' THEN ARRAY[typbasetype::int8] \
                WHEN typtype = 'r' THEN ARRAY(SELECT rngsubtype::int8 FROM pg_range WHERE rngtypid = t.oid) \
                WHEN typtype = 'c' THEN ARRAY(SELECT atttypid::int8 FROM pg_attribute \
                    WHERE attrelid = typrelid AND attnum > 0 AND NOT attisdropped) \
                ELSE ARRAY[]::int8[] END \
         FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace \
         WHERE (typtype <> 'p' OR typname IN ('cstring', 'anyarray')) AND nspname <> 'pg_toast' AND {NAMESPACES} ORDER BY 1"
    )
}

/// Lists the columns of queries that show whether the driver has cached a type, over a connection for which it has not.
pub(super) async fn probes(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    let rows = sqlx::raw_sql(AssertSqlSafe(candidates()))
        .fetch_all(&mut *connection)
        .await?;
    let mut candidates = Vec::new();
    for row in &rows {
        let parts: (i64, String, bool, Vec<i64>) = (
            row.try_get(0)?,
            row.try_get(1)?,
            row.try_get(2)?,
            row.try_get(3)?,
        );
        candidates.push(parts);
    }
    let mut unknown = HashSet::new();
    for some in candidates.chunks(MOST) {
        let nulls = some.iter().map(|(_, null, ..)| null.as_str());
        let nulls: Vec<&str> = nulls.collect();
        let known = are_known(connection, &nulls.join(", ")).await?;
        let types = some.iter().map(|(oid, ..)| *oid);
        unknown.extend(
            types
                .zip(known)
                .filter_map(|(oid, known)| (!known).then_some(oid)),
        );
    }
    let probed: Vec<String> = candidates
        .into_iter()
        .filter(|(oid, _, may_change, parts)| {
            // A test may have altered a type of the database in a transaction that it rolled back.
            let is_simple = || !parts.iter().any(|part| unknown.contains(part));
            unknown.contains(oid) && (*may_change || is_simple())
        })
        .map(|(_, null, ..)| null)
        .collect();
    Ok(probed.chunks(MOST).map(|some| some.join(", ")).collect())
}

/// Whether the driver has cached none of these types for the connection.
pub(super) async fn none_is_cached(
    connection: &mut PgConnection,
    probes: &[String],
) -> sqlx::Result<bool> {
    for probe in probes {
        if are_known(connection, probe).await?.contains(&true) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// For each of these columns, whether the driver knows its type.
async fn are_known(connection: &mut PgConnection, columns: &str) -> sqlx::Result<Vec<bool>> {
    let row = sqlx::raw_sql(AssertSqlSafe(format!("SELECT {columns}")))
        .fetch_one(connection)
        .await?;
    let columns = row.columns().iter();
    Ok(columns
        .map(|column| column.type_info().name() != UNKNOWN)
        .collect())
}
