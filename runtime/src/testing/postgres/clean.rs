//! Shows that a used database equals its template.
//!
//! Postgres stores in each row of tables and catalogs the transaction that made this version of the row (`xmin`), and keeps
//! it when the row is frozen. A database equals its template when
//!
//! - no other session is in it, nothing of it is stored elsewhere (prepared transactions, slots, its comment), and its settings
//!   and the rights on it are not younger than the lease;
//! - no row of a catalog is younger than the lease, and none is missing, so that the schema is the same;
//! - no row of a table that the template fills is younger than the lease, and none is missing;
//! - the planner's data of the tables (their sizes, and the statistics of `ANALYZE`) equals that at the lease;
//! - the tables that are empty in the template have no pages, and
//! - the sequences have the values of the template.
//!
//! The first four conditions are only checked. When the catalogs differ, the objects that the test has
//! [`made`](super::made) in the schema are dropped, and the check is repeated. The last two conditions are established,
//! with `TRUNCATE` and `setval`. Not compared are the server's data besides the visible rows (free space, and whether a table
//! ever had an index), the statistics of the server's own catalogs, and those of extended statistics (`CREATE STATISTICS`) of a
//! table that was analyzed in the template. That affects at most plans, and the order of rows in queries without `ORDER BY`.
//!
//! An ended session leaves only a count, and its client may reconnect. So the count is checked too: when it differs,
//! because of another session or because the count was lost, the database is not reused.

use std::fmt::Write;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};

use super::baseline::{Baseline, relations};
use super::made;
use super::since::{Since, in_row, younger};
use crate::dialect::literal;
use crate::testing::server::execute;

/// The age of a transaction beyond which the ages of rows are not certain: half of the 2^31 that can be compared.
const TOO_OLD: i64 = 1 << 30;

/// How long the sessions of a test may take to end.
const QUIET_LIMIT: Duration = Duration::from_secs(1);

/// Shows that a leased database equals its template, over the only connection to it, and runs `mark`.
///
/// Returns false or an error when that cannot be shown. The session may then be in a transaction, and must be closed.
pub(super) async fn clean(
    baseline: &Baseline,
    connection: &mut PgConnection,
    since: &mut Since,
    mark: &str,
) -> sqlx::Result<bool> {
    if baseline.obstacle {
        return Ok(false);
    }
    let look = baseline.look(since);
    let begun = Instant::now();
    let (xid, mut same, mut grown) = loop {
        // Plain queries, because each is planned only once.
        let rows = sqlx::raw_sql(AssertSqlSafe(look.clone()))
            .fetch_all(&mut *connection)
            .await?;
        let [around, content] = rows.as_slice() else {
            return Ok(false);
        };
        if !around.try_get::<bool, _>(1)? {
            return Ok(false);
        }
        if around.try_get::<i64, _>(2)? == 0 {
            let xid: i64 = around.try_get(0)?;
            let content: (bool, Option<String>) = (content.try_get(0)?, content.try_get(1)?);
            break (xid.unsigned_abs(), content.0, content.1);
        }
        execute(connection, "ROLLBACK".to_owned()).await?;
        if begun.elapsed() > QUIET_LIMIT {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    if !same && (made::drop_younger(connection, since).await? || !since.every_catalog) {
        // Dropped tables cannot be emptied, so the list is read again. Dropped or rolled back objects leave pages in empty
        // catalogs.
        since.every_catalog = true;
        let row = sqlx::raw_sql(AssertSqlSafe(baseline.content(since)))
            .fetch_one(&mut *connection)
            .await?;
        (same, grown) = (row.try_get(0)?, row.try_get(1)?);
    }
    if !same {
        return Ok(false);
    }
    let grown: Vec<&str> = grown.iter().flat_map(|names| names.split('\t')).collect();
    // `TRUNCATE` removes the planner's data of a table, which is a difference if the template's table was analyzed.
    let planned = if grown.is_empty() {
        String::new()
    } else {
        format!(" AND {}", since.is_planned_as_before())
    };
    // `DISCARD SEQUENCES` removes the values that `setval` leaves in the session.
    let look_again = format!(
        "{}{}DISCARD SEQUENCES; {}",
        empty(&grown),
        baseline.set_sequences(),
        unchanged(&baseline.filled, since.xid, &planned)
    );
    let rows = sqlx::raw_sql(AssertSqlSafe(look_again))
        .fetch_all(&mut *connection)
        .await?;
    let same = rows.last().is_some_and(|row| row.get(0));
    if !same {
        return Ok(false);
    }
    execute(connection, format!("{mark}; COMMIT")).await?;
    if !grown.is_empty() {
        since.xid = xid;
    }
    Ok(true)
}

impl Baseline {
    /// The statements that begin a transaction, and query the database's surroundings and content.
    ///
    /// The first query gives the transaction's number, the state outside of the database and the number of other sessions;
    /// the second gives the content. The second must begin after the first ends, because another session may have committed
    /// before.
    fn look(&self, since: &Since) -> String {
        let Since { oid, xid, .. } = since;
        // The functions behind the views, because planning the joins of the views takes longer than all the rest.
        format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
             SET LOCAL row_security = off; SET LOCAL synchronous_commit = off; SET LOCAL search_path = pg_catalog; \
             SELECT txid_current(), age('{}'::xid) <= {TOO_OLD} AND {} \
             AND (SELECT datdba = quote_ident(session_user)::regrole AND NOT {} FROM pg_database WHERE oid = {oid}) \
             AND NOT EXISTS (SELECT FROM pg_prepared_xact() WHERE dbid = {oid}) \
             AND {} \
             AND (SELECT count(*) = {} AND count(*) FILTER (WHERE {}) = 0 FROM pg_db_role_setting WHERE setdatabase = {oid}) \
             AND NOT EXISTS (SELECT FROM pg_subscription WHERE subdbid = {oid}) \
             AND NOT EXISTS (SELECT FROM pg_shdescription WHERE objoid = {oid} AND classoid = 'pg_database'::regclass) \
             AND NOT EXISTS (SELECT FROM pg_shseclabel WHERE objoid = {oid} AND classoid = 'pg_database'::regclass), \
             {}; {}",
            in_row(*xid),
            since.nobody_came(),
            younger("xmin", *xid),
            since.has_no_slot(),
            self.around.settings,
            younger("xmin", *xid),
            since.others(),
            self.content(since),
        )
    }

    /// A query for whether the catalogs are unchanged, and for the names of the tables to empty, separated by tabs.
    fn content(&self, since: &Since) -> String {
        let tables = relations("'r'");
        let filled: Vec<String> = self
            .filled
            .iter()
            .map(|(name, _)| literal(name.strip_prefix("ONLY ").unwrap_or(name)))
            .collect();
        let filled = if filled.is_empty() {
            String::new()
        } else {
            format!("WHERE name NOT IN ({})", filled.join(", "))
        };
        let empty = if since.every_catalog {
            "true".to_owned()
        } else {
            self.is_empty()
        };
        // A table that has never had a row since it was made or emptied has no pages.
        let more = format!(
            " AND {empty} AND {}, (SELECT string_agg(name, E'\\t') \
             FROM ({tables} AND pg_relation_size(c.oid) > 0) AS grown (name) {filled})",
            since.is_planned_as_before(),
        );
        unchanged(&self.catalog_rows(since.every_catalog), since.xid, &more)
    }

    /// The statement that restores the sequences.
    fn set_sequences(&self) -> String {
        let values = self
            .sequences
            .iter()
            .map(|(name, last, called)| format!("({}, {last}, {called})", literal(name)));
        let values: Vec<String> = values.collect();
        if values.is_empty() {
            return String::new();
        }
        format!(
            "SELECT count(setval(name::regclass, last, called)) FROM (VALUES {}) AS v (name, last, called); ",
            values.join(", ")
        )
    }
}

/// The statement that empties tables.
fn empty(tables: &[&str]) -> String {
    let mut empty = String::new();
    if !tables.is_empty() {
        // Tables that refer to these are emptied too; the check that follows fails if one of them should have rows. Writing
        // to a string does not fail.
        let _ = write!(empty, "TRUNCATE ONLY {} CASCADE; ", tables.join(", "));
    }
    empty
}

/// A query for whether each table has its number of rows, and none younger than the transaction, followed by `more`.
///
/// No transaction makes rows older than itself, so no table gains old rows. When the total of old rows is unchanged, that
/// of each table is too. When there are no more rows than that, none is young. All rows are read as one list, because
/// planning a count, or the youngest row, of each table takes longer than reading the rows.
fn unchanged(tables: &[(String, i64)], since: u64, more: &str) -> String {
    if tables.is_empty() {
        return format!("SELECT true{more}");
    }
    let all: i64 = tables.iter().map(|(_, rows)| rows).sum();
    let since = in_row(since);
    let each = tables
        .iter()
        .map(|(table, _)| format!("SELECT xmin FROM {table}"));
    let each: Vec<String> = each.collect();
    format!(
        "SELECT count(*) = {all} AND count(*) FILTER (WHERE age(by) >= (SELECT age('{since}'::xid))) = {all}{more} \
         FROM ({}) AS made (by)",
        each.join(" UNION ALL ")
    )
}
