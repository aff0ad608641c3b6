//! What a template holds, and what a test has changed since: enough to undo the changes, or to know that it cannot be done.
//!
//! Postgres writes into every row, of a table as of a catalog, the transaction that made this version of it (`xmin`). A
//! database is what its template was when
//!
//! - no row of a catalog is younger than the lease, and none is missing, so that the schema is the same;
//! - no row of a table that the template fills is younger than the lease, and none is missing;
//! - the tables that are empty in the template are empty, and
//! - the sequences stand where they stood.
//!
//! The first two are only looked at: if they do not hold, the database is dropped, and the next test gets a new copy. The
//! last two are brought about, with `TRUNCATE` and `setval`. What the server keeps outside of the rows that it shows (free
//! space, statistics, its own counters) differs and has no meaning for a query without `ORDER BY` guarantees.

use std::fmt::Write;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};

use super::template::execute;

/// Rows of catalogs that do not belong to the schema: temporary schemas stay when their session has gone.
const NAMESPACES: &str = "nspname !~ '^pg_(toast_)?temp_'";

/// A transaction so long ago that the age of a row cannot be told for sure any more: half of the way round the counter.
const TOO_OLD: i64 = 1 << 30;

/// What a template holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Baseline {
    /// Whether there is something in it because of which no database made of it is used twice.
    obstacle: bool,
    /// Catalogs and the number of their rows.
    catalogs: Vec<(String, i64)>,
    /// Tables with rows, and how many. Materialized views count as such also when they are empty.
    filled: Vec<(String, i64)>,
    /// Sequences: the last value, and whether it was given out.
    sequences: Vec<(String, i64, bool)>,
}

impl Baseline {
    /// Measures a database that nobody else uses.
    pub(super) async fn measure(connection: &mut PgConnection) -> sqlx::Result<Self> {
        let catalogs = names(
            connection,
            "SELECT relname::text FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace \
             AND relkind = 'r' AND NOT relisshared AND relname NOT IN ('pg_statistic', 'pg_statistic_ext_data') ORDER BY 1",
        )
        .await?;
        let tables = names(connection, &relations("'r'")).await?;
        let views = names(connection, &relations("'m'")).await?;
        let sequences = names(connection, &relations("'S'")).await?;
        // What a trigger does at a TRUNCATE of ours, or a foreign table's server at anything, nobody knows.
        let obstacle: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM pg_trigger WHERE NOT tgisinternal AND tgtype::int4 & 32 > 0) \
             OR EXISTS (SELECT FROM pg_class WHERE relkind = 'f')",
        )
        .fetch_one(&mut *connection)
        .await?;
        // Names stand between tabs in the template's comment.
        let mut all = tables.iter().chain(&views).chain(&sequences);
        let strange = all.any(|name| name.contains(|c: char| c.is_control()));
        if strange {
            return Ok(Self {
                obstacle: true,
                ..Self::default()
            });
        }
        let mut baseline = Self {
            obstacle,
            ..Self::default()
        };
        for catalog in catalogs {
            let rows = count(connection, &catalog_rows(&catalog)).await?;
            baseline.catalogs.push((catalog, rows));
        }
        for table in tables {
            let rows = count(connection, &table).await?;
            if rows > 0 {
                baseline.filled.push((table, rows));
            }
        }
        for view in views {
            let rows = count(connection, &view).await.unwrap_or(-1);
            // A view that was never filled cannot be read.
            baseline.obstacle |= rows < 0;
            baseline.filled.push((view, rows));
        }
        for sequence in sequences {
            let sql = format!("SELECT last_value, is_called FROM {sequence}");
            let row = sqlx::query(AssertSqlSafe(sql))
                .fetch_one(&mut *connection)
                .await?;
            baseline.sequences.push((sequence, row.get(0), row.get(1)));
        }
        Ok(baseline)
    }

    /// Undoes what was done since the transaction `since`, over the only connection to the database; false when that
    /// cannot be done. An error says so too.
    pub(super) async fn restore(
        &self,
        connection: &mut PgConnection,
        since: u64,
    ) -> sqlx::Result<bool> {
        if self.obstacle || !self.same_schema(connection, since).await? {
            return Ok(false);
        }
        // A table that was never written to has no pages.
        let grown = names(
            connection,
            &format!("{} AND pg_relation_size(c.oid) > 0", relations("'r'")),
        )
        .await?;
        let is_filled = |name: &String| self.filled.iter().any(|(filled, _)| filled == name);
        let empty: Vec<String> = grown.into_iter().filter(|name| !is_filled(name)).collect();
        let mut undo = String::new();
        if !empty.is_empty() {
            // Tables that refer to these are emptied too; the check that follows sees when one of them should not be.
            let _ = write!(undo, "TRUNCATE ONLY {} CASCADE; ", empty.join(", "));
        }
        if !self.sequences.is_empty() {
            let values = self.sequences.iter().map(|(name, last, called)| {
                format!("('{}', {last}, {called})", name.replace('\'', "''"))
            });
            let values: Vec<String> = values.collect();
            let _ = write!(
                undo,
                "SELECT count(setval(name::regclass, last, called)) FROM (VALUES {}) AS v (name, last, called);",
                values.join(", ")
            );
        }
        if !undo.is_empty() {
            execute(connection, undo).await?;
        }
        self.unchanged(connection, &self.filled, since).await
    }

    /// Whether no catalog has changed, and nothing of the database is kept elsewhere.
    async fn same_schema(&self, connection: &mut PgConnection, since: u64) -> sqlx::Result<bool> {
        let elsewhere: bool = sqlx::query_scalar(
            "SELECT age($1::text::xid) > $2 \
             OR EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend') \
             OR EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database()) \
             OR EXISTS (SELECT FROM pg_replication_slots WHERE database = current_database()) \
             OR EXISTS (SELECT FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE d.datname = current_database())",
        )
        .bind(in_row(since))
        .bind(TOO_OLD)
        .fetch_one(&mut *connection)
        .await?;
        if elsewhere {
            return Ok(false);
        }
        let catalogs: Vec<(String, i64)> = self
            .catalogs
            .iter()
            .map(|(name, rows)| (catalog_rows(name), *rows))
            .collect();
        self.unchanged(connection, &catalogs, since).await
    }

    /// Whether each of these has as many rows as given, and none that is younger than the transaction.
    async fn unchanged(
        &self,
        connection: &mut PgConnection,
        tables: &[(String, i64)],
        since: u64,
    ) -> sqlx::Result<bool> {
        if tables.is_empty() {
            return Ok(true);
        }
        let since = in_row(since);
        let checks = tables.iter().map(|(table, rows)| {
            format!("(SELECT count(*) = {rows} AND count(*) FILTER (WHERE age(xmin) < age('{since}'::xid)) = 0 FROM {table})")
        });
        let checks: Vec<String> = checks.collect();
        let sql = format!("SELECT {}", checks.join(" AND "));
        // As a plain query: planning it once is all there is to it.
        let row = sqlx::raw_sql(AssertSqlSafe(sql))
            .fetch_one(connection)
            .await?;
        Ok(row.get(0))
    }

    /// The baseline as it stands in the template's comment.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = writeln!(text, "obstacle\t{}", self.obstacle);
        for (name, rows) in &self.catalogs {
            let _ = writeln!(text, "catalog\t{name}\t{rows}");
        }
        for (name, rows) in &self.filled {
            let _ = writeln!(text, "filled\t{name}\t{rows}");
        }
        for (name, last, called) in &self.sequences {
            let _ = writeln!(text, "sequence\t{name}\t{last}\t{called}");
        }
        text
    }

    /// Reads what [`to_text`](Self::to_text) has written.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let mut baseline = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split('\t').collect();
            match words.as_slice() {
                ["obstacle", obstacle] => baseline.obstacle = obstacle.parse().ok()?,
                ["catalog", name, rows] => {
                    baseline
                        .catalogs
                        .push(((*name).to_owned(), rows.parse().ok()?));
                }
                ["filled", name, rows] => {
                    baseline
                        .filled
                        .push(((*name).to_owned(), rows.parse().ok()?));
                }
                ["sequence", name, last, called] => {
                    let (last, called) = (last.parse().ok()?, called.parse().ok()?);
                    baseline.sequences.push(((*name).to_owned(), last, called));
                }
                _ => return None,
            }
        }
        Some(baseline)
    }
}

/// A query for the quoted names of the relations of a kind that are not the server's own.
fn relations(kind: &str) -> String {
    format!(
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = {kind} AND c.relpersistence <> 't' \
         AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
    )
}

/// The rows of a catalog that are part of the schema, as something to select from.
fn catalog_rows(catalog: &str) -> String {
    if catalog == "pg_namespace" {
        format!("pg_catalog.pg_namespace WHERE {NAMESPACES}")
    } else {
        format!("pg_catalog.{catalog}")
    }
}

/// A transaction as rows carry it: the lower half of its number.
fn in_row(xid: u64) -> String {
    (xid & u64::from(u32::MAX)).to_string()
}

async fn names(connection: &mut PgConnection, sql: &str) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
        .persistent(false)
        .fetch_all(connection)
        .await
}

async fn count(connection: &mut PgConnection, of: &str) -> sqlx::Result<i64> {
    sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {of}")))
        .persistent(false)
        .fetch_one(connection)
        .await
}
