//! Showing that a used database is what its template is.
//!
//! Postgres writes into every row, of a table as of a catalog, the transaction that made this version of it (`xmin`), and
//! leaves it there when the row is frozen. A database is what its template is when
//!
//! - nobody else is in it, and nothing of it is kept elsewhere (prepared transactions, settings, slots, its own comment);
//! - no row of a catalog is younger than the lease, and none is missing, so that the schema is the same;
//! - no row of a table that the template fills is younger than the lease, and none is missing;
//! - the tables that are empty in the template have no pages, and
//! - the sequences stand where they stood.
//!
//! The first three are only looked at. Before that, what the test has [`made`](super::made) in the schema goes away. The last
//! two are brought about, with `TRUNCATE` and `setval`. What the server keeps beside the rows that it shows (free space,
//! statistics, and that a table ever had an index) differs and has no meaning for a query without `ORDER BY` guarantees.
//!
//! A session that came and went leaves no trace but a count, and may come back. The count is asked for as well: when it is not
//! what it must be, because there was a visitor or because the count was lost, the database is not used again.

use std::fmt::Write;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};

use super::baseline::{Baseline, relations};
use super::made;
use super::since::{Since, in_row, literal, younger};
use crate::testing::server::execute;

/// A transaction so long ago that the age of a row cannot be told for sure any more: half of the way round the counter.
const TOO_OLD: i64 = 1 << 30;

/// How long the sessions of a test may take to end.
const QUIET_LIMIT: Duration = Duration::from_secs(1);

/// Shows that a leased database is what its template is, over the only connection to it, and marks it with this statement;
/// false when that cannot be shown, and then the session may be in a transaction that is to end with it. An error says so too.
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
        // As plain queries: planning them once is all there is to it.
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
    if !same && (made::drop_younger(connection, since.xid).await? || !since.every_catalog) {
        // What is gone cannot be emptied. What was dropped, or rolled back, leaves pages in a catalog that was empty.
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
    // The values that it sets are not to be known to the session.
    let look_again = format!(
        "{}{}DISCARD SEQUENCES; {}",
        empty(&grown),
        baseline.set_sequences(),
        unchanged(&baseline.filled, since.xid, "")
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
    /// Begins a transaction, and queries its number, what is outside of the database, and how many others are in it; then
    /// the content. The first query must be over when the second begins, because a session in the database may have committed.
    fn look(&self, since: &Since) -> String {
        let Since { oid, xid, .. } = since;
        // The functions behind the views: to plan what the views join takes longer than all the rest.
        format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
             SET LOCAL row_security = off; SET LOCAL synchronous_commit = off; SET LOCAL search_path = pg_catalog; \
             SELECT txid_current(), age('{}'::xid) <= {TOO_OLD} AND {} \
             AND (SELECT datdba = session_user::regrole AND NOT {} FROM pg_database WHERE oid = {oid}) \
             AND NOT EXISTS (SELECT FROM pg_prepared_xact() WHERE dbid = {oid}) \
             AND NOT EXISTS (SELECT FROM pg_get_replication_slots() WHERE datoid = {oid}) \
             AND NOT EXISTS (SELECT FROM pg_db_role_setting WHERE setdatabase = {oid}) \
             AND NOT EXISTS (SELECT FROM pg_subscription WHERE subdbid = {oid}) \
             AND NOT EXISTS (SELECT FROM pg_shdescription WHERE objoid = {oid} AND classoid = 'pg_database'::regclass) \
             AND NOT EXISTS (SELECT FROM pg_shseclabel WHERE objoid = {oid} AND classoid = 'pg_database'::regclass), \
             {}; {}",
            in_row(*xid),
            since.nobody_came(),
            younger("xmin", *xid),
            since.others(),
            self.content(since),
        )
    }

    /// Queries whether the catalogs are what they were, and the names of the tables that are to be emptied, between tabs.
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
            " AND {empty}, (SELECT string_agg(name, E'\\t') \
             FROM ({tables} AND pg_relation_size(c.oid) > 0) AS grown (name) {filled})"
        );
        unchanged(&self.catalog_rows(since.every_catalog), since.xid, &more)
    }

    /// The statement that sets the sequences back.
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
        // Tables that refer to these are emptied too; the check that follows sees when one of them should not be. Writing to
        // a string does not fail.
        let _ = write!(empty, "TRUNCATE ONLY {} CASCADE; ", tables.join(", "));
    }
    empty
}

/// Queries whether each of these has as many rows as given and none that is younger than the transaction, and more.
///
/// No transaction makes a row that is older than itself, so no table has more old rows than it had. When all of them together
/// have as many as they had, each has, and when there are no more rows than that, none is young. (All rows in one list: to
/// plan a count, or the youngest row, of each table takes longer than to read them.)
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
