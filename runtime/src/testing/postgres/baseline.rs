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
//! The first two are only looked at: if they do not hold, the database is dropped, and the next test gets a new copy. Before
//! that, what the test has [`made`](super::made) in the schema goes away. Where the server counts what is written into its
//! catalogs, and the count is what it was, their rows need not be looked at. The last two are brought about, with
//! `TRUNCATE` and `setval`. What the server keeps beside the rows that it shows (free space, its own counters, and what it
//! notes in place: statistics, and that a table ever had an index) differs and has no meaning for a query without `ORDER BY`
//! guarantees.

use std::fmt::Write;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};

use super::counts::{self, CATALOGS, Counts};
use super::stock::Leased;
use super::template::execute;
use super::{made, names};

/// Rows of catalogs that do not belong to the schema: temporary schemas stay when their session has gone.
pub(super) const NAMESPACES: &str = "nspname !~ '^pg_(toast_)?temp_'";

/// Schemas that are not the server's own.
pub(super) const OF_USERS: &str = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";

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
        let catalogs = format!(
            "SELECT relname::text {CATALOGS} AND relname NOT IN ('pg_statistic', 'pg_statistic_ext_data') ORDER BY 1"
        );
        let catalogs = names(connection, &catalogs).await?;
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

    /// Undoes what was done in a leased database, over the only connection to it; `None` when that cannot be done, and then
    /// the session is in a transaction that is to end with it. An error says so too.
    ///
    /// `counted` is what the server has counted if nobody besides the test's engine was there, and nothing was written
    /// into a catalog.
    pub(super) async fn restore(
        &self,
        connection: &mut PgConnection,
        Leased { oid, name, since }: &Leased,
        counted: Option<Counts>,
    ) -> sqlx::Result<Option<Restored>> {
        if self.obstacle {
            return Ok(None);
        }
        let (oid, since) = (*oid, *since);
        // As plain queries: planning them once is all there is to it.
        let counts_are_told = Counts::are_told(connection);
        let row = sqlx::raw_sql(AssertSqlSafe(self.look(oid, since, counts_are_told)))
            .fetch_one(&mut *connection)
            .await?;
        let (xid, nothing_elsewhere): (i64, bool) = (row.get(0), row.get(1));
        let mut grown: Option<String> = row.get(2);
        let counts = Counts::of(row.get(3), row.get(4));
        if !nothing_elsewhere {
            return Ok(None);
        }
        if let (Some(counted), Some(counts)) = (counted, counts)
            && counted.sessions != counts.sessions
        {
            return Ok(None);
        }
        // What is not counted, or was counted and taken back, the rows themselves tell.
        let is_counted_the_same = counted.is_some() && counted == counts;
        if !is_counted_the_same {
            if made::drop_younger(connection, since).await? {
                // What is gone cannot be emptied.
                let look = format!("SELECT {}", self.grown(counts_are_told));
                let row = sqlx::raw_sql(AssertSqlSafe(look))
                    .fetch_one(&mut *connection)
                    .await?;
                grown = row.get(0);
            }
            let look = format!("SELECT {}", unchanged(&self.catalog_rows(), since));
            let row = sqlx::raw_sql(AssertSqlSafe(look))
                .fetch_one(&mut *connection)
                .await?;
            if !row.get::<bool, _>(0) {
                return Ok(None);
            }
        }
        let grown: Vec<&str> = grown.iter().flat_map(|names| names.split('\t')).collect();
        let mut undo = self.undo(&grown);
        if !undo.is_empty() {
            // If this process ends now, the next one is to know that what is younger than the lease is our own work.
            let note = names::clean_comment(xid.unsigned_abs());
            let _ = write!(undo, "COMMENT ON DATABASE {name} IS '{note}'; ");
        }
        let look_again = format!(
            "{undo}SELECT {}, {}",
            unchanged(&self.filled, since),
            counts::written_now()
        );
        let rows = sqlx::raw_sql(AssertSqlSafe(look_again))
            .fetch_all(&mut *connection)
            .await?;
        let Some((true, written)) = rows.last().map(|row| (row.get(0), row.get::<i64, _>(1)))
        else {
            return Ok(None);
        };
        execute(connection, "COMMIT".to_owned()).await?;
        Ok(Some(Restored {
            since: if undo.is_empty() {
                since
            } else {
                xid.unsigned_abs()
            },
            counts: counts.map(|counts| counts.and_written(written)),
        }))
    }

    /// Begins a transaction, and queries its number; whether nothing of the database is kept elsewhere, and its owner asks,
    /// from whom no row is hidden; the names of the tables that are to be emptied, between tabs; and the counts.
    fn look(&self, oid: i64, since: u64, counts: bool) -> String {
        let grown = self.grown(counts);
        let counts = if counts {
            counts::columns(oid)
        } else {
            "NULL::int8, NULL::int8".to_owned()
        };
        // The functions behind the views: to plan what the views join takes longer than all the rest.
        format!(
            "BEGIN; SELECT txid_current(), age('{}'::xid) <= {TOO_OLD} \
             AND session_user = (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE oid = {oid}) \
             AND NOT EXISTS (SELECT FROM pg_prepared_xact() WHERE dbid = {oid}) \
             AND NOT EXISTS (SELECT FROM pg_get_replication_slots() WHERE datoid = {oid}) \
             AND NOT EXISTS (SELECT FROM pg_db_role_setting WHERE setdatabase = {oid}), \
             {grown}, {counts}",
            in_row(since),
        )
    }

    /// The names of the tables that are to be emptied, between tabs, as an expression.
    fn grown(&self, counts: bool) -> String {
        let tables = relations("'r'");
        let filled: Vec<String> = self.filled.iter().map(|(name, _)| literal(name)).collect();
        let filled = if filled.is_empty() {
            String::new()
        } else {
            format!("WHERE name NOT IN ({})", filled.join(", "))
        };
        // A table that was never written to has no pages, and to ask for them is to look at its file.
        let written = if counts {
            "pg_stat_get_tuples_inserted(c.oid) > 0 AND pg_relation_size(c.oid) > 0"
        } else {
            "pg_relation_size(c.oid) > 0"
        };
        format!(
            "(SELECT string_agg(name, E'\\t') FROM ({tables} AND {written}) AS grown (name) {filled})"
        )
    }

    /// The rows of the catalogs, as something to select from.
    fn catalog_rows(&self) -> Vec<(String, i64)> {
        self.catalogs
            .iter()
            .map(|(name, rows)| (catalog_rows(name), *rows))
            .collect()
    }

    /// The statements that empty tables and set the sequences back.
    fn undo(&self, grown: &[&str]) -> String {
        let mut undo = String::new();
        if !grown.is_empty() {
            // Tables that refer to these are emptied too; the check that follows sees when one of them should not be.
            let _ = write!(undo, "TRUNCATE ONLY {} CASCADE; ", grown.join(", "));
        }
        if !self.sequences.is_empty() {
            let values = self
                .sequences
                .iter()
                .map(|(name, last, called)| format!("({}, {last}, {called})", literal(name)));
            let values: Vec<String> = values.collect();
            let _ = write!(
                undo,
                "SELECT count(setval(name::regclass, last, called)) FROM (VALUES {}) AS v (name, last, called); ",
                values.join(", ")
            );
        }
        undo
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
         WHERE c.relkind = {kind} AND c.relpersistence <> 't' AND {OF_USERS}"
    )
}

/// Whether each of these has as many rows as given, and none that is younger than the transaction, as an expression.
fn unchanged(tables: &[(String, i64)], since: u64) -> String {
    if tables.is_empty() {
        return "true".to_owned();
    }
    let each = tables.iter().map(|(table, rows)| {
        format!("SELECT count(*) = {rows} AS same, min(age(xmin)) AS youngest FROM {table}")
    });
    let each: Vec<String> = each.collect();
    format!(
        "(SELECT bool_and(same) AND coalesce(min(youngest) >= age('{}'::xid), true) FROM ({}) AS each)",
        in_row(since),
        each.join(" UNION ALL ")
    )
}

/// Whether the transaction of a row is younger than this one, as an expression.
pub(super) fn younger(xmin: &str, than: u64) -> String {
    format!("age({xmin}) < age('{}'::xid)", in_row(than))
}

/// A database that is what its template was.
pub(super) struct Restored {
    /// The transaction since which nobody has undone changes.
    pub(super) since: u64,
    /// What the server has counted by now.
    pub(super) counts: Option<Counts>,
}

/// The rows of a catalog that are part of the schema, as something to select from.
fn catalog_rows(catalog: &str) -> String {
    if catalog == "pg_namespace" {
        format!("pg_catalog.pg_namespace WHERE {NAMESPACES}")
    } else {
        format!("pg_catalog.{catalog}")
    }
}

/// A text as SQL writes it.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
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
