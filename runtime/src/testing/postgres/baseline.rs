//! The measured content of a template, to show that a clone has the same content.

use std::fmt::Write;

use sqlx::AssertSqlSafe;
use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::around::NotCopied;
use super::objects::{
    COMPILED, FIRST_OF_USERS, NAMES_COLUMNS, NAMESPACES, OF_USERS, STAYS_COMPILED,
};
use super::types;

/// The `FROM` clause for the catalogs of one database that its owner can read.
const CATALOGS: &str = "FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r' \
    AND NOT relisshared AND relname NOT IN ('pg_statistic', 'pg_statistic_ext_data', 'pg_largeobject', 'pg_user_mapping')";

/// A query for objects with which a clone cannot be shown to be clean:
/// - triggers for `TRUNCATE`, event triggers (for `DROP`) and foreign servers, whose effects are unknown. A user mapping
///   needs a foreign server.
/// - large objects, whose content their owner cannot scan.
///
/// A catalog or table that the role cannot read is an obstacle too; [`Baseline::measure`] finds it.
const OBSTACLES: &str = "SELECT EXISTS (SELECT FROM pg_trigger WHERE NOT tgisinternal AND tgtype::int4 & 32 > 0) \
    OR EXISTS (SELECT FROM pg_event_trigger) OR EXISTS (SELECT FROM pg_foreign_server) \
    OR EXISTS (SELECT FROM pg_largeobject_metadata)";

/// A query for parts of the template's schema that keep data in a session, which nothing clears: languages with variables that
/// all functions share (`%_SHARED`, `GD`), extensions with connections, variables, packages or indexes of a session, and compiled
/// functions, where the name of a type may have led to another one.
fn keep_data() -> String {
    format!(
        "SELECT EXISTS (SELECT FROM pg_language WHERE lanname NOT IN ('internal', 'c', 'sql', 'plpgsql')) \
         OR EXISTS (SELECT FROM pg_extension WHERE extname IN ('dblink', 'hypopg', 'orafce', 'pg_variables', 'temporal_tables')) \
         OR {COMPILED} AND EXISTS (SELECT FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace \
             WHERE {OF_USERS} AND {STAYS_COMPILED}) \
         OR {NAMES_COLUMNS} AND EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {OF_USERS})"
    )
}

/// The measured content of a template.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Baseline {
    /// Whether clones cannot be shown to be clean, and are used only once.
    pub(super) obstacle: bool,
    /// Whether a crash changes the content: a crash empties unlogged tables, and moves a sequence to a value that is logged
    /// ahead (<https://www.postgresql.org/docs/current/functions-sequence.html>).
    volatile: bool,
    /// Whether a session keeps data that cannot be cleared. Connections are then used only once.
    pub(super) keeps_data: bool,
    /// Catalogs and the number of their rows.
    catalogs: Vec<(String, i64)>,
    /// Catalogs that have never had a row, and so have no pages.
    empty: Vec<String>,
    /// Tables with rows, and how many. Materialized views are included even when they are empty.
    pub(super) filled: Vec<(String, i64)>,
    /// Sequences: the last value, and whether it was given out.
    pub(super) sequences: Vec<(String, i64, bool)>,
    /// Its settings and the rights on it.
    pub(super) around: NotCopied,
    /// The columns of queries that show whether the driver has cached a type; see [`types`](super::types).
    pub(super) types: Vec<String>,
}

impl Baseline {
    /// Measures a database that no other session uses.
    pub(super) async fn measure(connection: &mut PgConnection) -> sqlx::Result<Self> {
        let around = NotCopied::read(connection).await?;
        match Self::read(connection).await {
            Ok(baseline) => Ok(Self { around, ..baseline }),
            // The role cannot read an object, or not all of its rows.
            Err(error @ sqlx::Error::Database(_)) => {
                tracing::debug!(%error, "clones of a template are not used twice");
                Ok(Self {
                    obstacle: true,
                    volatile: true,
                    keeps_data: true,
                    around,
                    ..Self::default()
                })
            }
            Err(error) => Err(error),
        }
    }

    async fn read(connection: &mut PgConnection) -> sqlx::Result<Self> {
        // Row security gives an error instead of fewer rows: <https://www.postgresql.org/docs/current/ddl-rowsecurity.html>
        sqlx::raw_sql("SET row_security = off")
            .execute(&mut *connection)
            .await?;
        // First, because the driver has resolved no type yet.
        let types = types::probes(connection).await?;
        let catalogs = names(
            connection,
            &format!("SELECT relname::text {CATALOGS} ORDER BY 1"),
        )
        .await?;
        let tables = names(connection, &relations("'r'")).await?;
        let views = names(connection, &relations("'m'")).await?;
        let sequences = names(connection, &relations("'S'")).await?;
        let unlogged = names(
            connection,
            "SELECT relname::text FROM pg_class WHERE relpersistence = 'u' LIMIT 1",
        );
        let mut baseline = Self {
            types,
            volatile: !unlogged.await?.is_empty(),
            keeps_data: sqlx::query_scalar(AssertSqlSafe(keep_data()))
                .fetch_one(&mut *connection)
                .await?,
            obstacle: sqlx::query_scalar(OBSTACLES)
                .fetch_one(&mut *connection)
                .await?,
            ..Self::default()
        };
        // Tabs and line ends separate the names in the template's comment.
        let mut all = tables
            .iter()
            .chain(&views)
            .chain(&sequences)
            .chain(&baseline.types);
        if all.any(|name| name.contains(|c: char| c.is_control())) {
            baseline.obstacle = true;
            baseline.volatile = true;
            // Nor can its sessions be shown to be like new.
            baseline.keeps_data = true;
            baseline.types.clear();
            return Ok(baseline);
        }
        for catalog in catalogs {
            let sql = format!("SELECT pg_relation_size('pg_catalog.{catalog}') > 0");
            let has_pages: bool = sqlx::query_scalar(AssertSqlSafe(sql))
                .persistent(false)
                .fetch_one(&mut *connection)
                .await?;
            if has_pages {
                let rows = count(connection, &catalog_rows(&catalog)).await?;
                baseline.catalogs.push((catalog, rows));
            } else {
                baseline.empty.push(catalog);
            }
        }
        for table in tables {
            let rows = format!("ONLY {table}");
            let rows = count(connection, &rows).await?;
            if rows > 0 {
                baseline.filled.push((format!("ONLY {table}"), rows));
            }
        }
        for view in views {
            // A view that was never filled cannot be read, which is an obstacle.
            let rows = count(connection, &view).await?;
            baseline.filled.push((view, rows));
        }
        for sequence in sequences {
            let sql = format!("SELECT last_value, is_called, log_cnt > 0 FROM {sequence}");
            let row = sqlx::query(AssertSqlSafe(sql))
                .fetch_one(&mut *connection)
                .await?;
            baseline.volatile |= row.get::<bool, _>(2);
            baseline.sequences.push((sequence, row.get(0), row.get(1)));
        }
        Ok(baseline)
    }

    /// Whether a crash changes the content.
    pub(super) fn is_volatile(&self) -> bool {
        self.volatile
    }

    /// The catalogs as `FROM` clauses, with their numbers of rows; `of_empty` includes those that were empty.
    pub(super) fn catalog_rows(&self, of_empty: bool) -> Vec<(String, i64)> {
        let filled = self.catalogs.iter().map(|(name, rows)| (name, *rows));
        let empty = self.empty.iter().map(|name| (name, 0));
        filled
            .chain(empty.filter(|_| of_empty))
            .map(|(name, rows)| (catalog_rows(name), rows))
            .collect()
    }

    /// An SQL expression for whether the empty catalogs have no pages. Reading their sizes is faster than planning a query
    /// for their rows.
    pub(super) fn is_empty(&self) -> String {
        let names = self.empty.iter().map(|name| format!("'pg_catalog.{name}'"));
        let names: Vec<String> = names.collect();
        if names.is_empty() {
            return "true".to_owned();
        }
        format!(
            "(SELECT max(pg_relation_size(name::regclass)) = 0 FROM unnest(ARRAY[{}]) AS name)",
            names.join(", ")
        )
    }

    /// The baseline as text, for the template's comment.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = writeln!(text, "obstacle\t{}\t{}", self.obstacle, self.volatile);
        if self.keeps_data {
            let _ = writeln!(text, "keeps data");
        }
        let NotCopied { settings, rights } = self.around;
        let _ = writeln!(text, "around\t{settings}\t{rights}");
        for (name, rows) in &self.catalogs {
            let _ = writeln!(text, "catalog\t{name}\t{rows}");
        }
        for name in &self.empty {
            let _ = writeln!(text, "empty\t{name}");
        }
        for (name, rows) in &self.filled {
            let _ = writeln!(text, "filled\t{name}\t{rows}");
        }
        for (name, last, called) in &self.sequences {
            let _ = writeln!(text, "sequence\t{name}\t{last}\t{called}");
        }
        for types in &self.types {
            let _ = writeln!(text, "types\t{types}");
        }
        text
    }

    /// Reads what [`to_text`](Self::to_text) has written.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let mut baseline = Self::default();
        let mut lines = text.lines();
        let (obstacle, volatile) = lines.next()?.strip_prefix("obstacle\t")?.split_once('\t')?;
        baseline.obstacle = obstacle.parse().ok()?;
        baseline.volatile = volatile.parse().ok()?;
        for line in lines {
            let words: Vec<&str> = line.split('\t').collect();
            match words.as_slice() {
                ["catalog", name, rows] => {
                    let rows = rows.parse().ok()?;
                    baseline.catalogs.push(((*name).to_owned(), rows));
                }
                ["around", settings, rights] => {
                    baseline.around = NotCopied {
                        settings: settings.parse().ok()?,
                        rights: rights.parse().ok()?,
                    };
                }
                ["keeps data"] => baseline.keeps_data = true,
                ["empty", name] => baseline.empty.push((*name).to_owned()),
                ["filled", name, rows] => {
                    let rows = rows.parse().ok()?;
                    baseline.filled.push(((*name).to_owned(), rows));
                }
                ["sequence", name, last, called] => {
                    let (last, called) = (last.parse().ok()?, called.parse().ok()?);
                    baseline.sequences.push(((*name).to_owned(), last, called));
                }
                ["types", types] => baseline.types.push((*types).to_owned()),
                _ => return None,
            }
        }
        Some(baseline)
    }
}

/// A query for the quoted names of the relations of a kind that are not the server's own.
pub(super) fn relations(kind: &str) -> String {
    format!(
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = {kind} AND c.relpersistence <> 't' AND c.oid >= {FIRST_OF_USERS} AND {OF_USERS}"
    )
}

/// The `FROM` clause for the rows of a catalog that belong to the content.
fn catalog_rows(catalog: &str) -> String {
    if catalog == "pg_namespace" {
        format!("pg_catalog.pg_namespace WHERE {NAMESPACES}")
    } else {
        format!("pg_catalog.{catalog}")
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_comment_says_what_was_measured() {
        let baseline = Baseline {
            obstacle: false,
            volatile: true,
            keeps_data: true,
            catalogs: vec![("pg_class".to_owned(), 400)],
            empty: vec!["pg_policy".to_owned()],
            filled: vec![(r#"ONLY public."it's \ ""#.to_owned(), 3)],
            sequences: vec![("public.band_id_seq".to_owned(), -7, true)],
            around: NotCopied {
                settings: 2,
                rights: true,
            },
            types: vec![r#"NULL::public.genre, NULL::"B"."it's""#.to_owned()],
        };
        assert_eq!(Baseline::from_text(&baseline.to_text()), Some(baseline));
        assert_eq!(Baseline::from_text("catalog\tpg_class\t400"), None);
    }
}
