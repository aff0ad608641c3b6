//! The contents of a database and the state of its session, as lines of text to compare.

use std::collections::BTreeMap;

use anyhow::Context;
use poolhouse::Checkout;
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Database, MySql, Postgres, Row, Sqlite, ValueRef};

/// The table of migrations, and its columns that are the same on each run, without times and durations.
const MIGRATIONS: &str = "_sqlx_migrations";
const OF_MIGRATIONS: &str = "version, description, success, hex(checksum)";

/// In the lines about read-only transactions: those after the one that a test rolls back are read-only.
pub(crate) const READ_ONLY: &str = "transaction_read_only";

/// One value; `None` is NULL.
pub(crate) type Value = Option<String>;

/// A connection of the driver or of an engine, for queries.
pub(crate) trait Asks: Send {
    async fn ask(&mut self, sql: &str) -> sqlx::Result<Vec<Vec<Value>>>;
}

macro_rules! asks {
    ($($database:ty: $connection:ty, $as_text:path;)*) => {$(
        impl Asks for $connection {
            async fn ask(&mut self, sql: &str) -> sqlx::Result<Vec<Vec<Value>>> {
                let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(self).await?;
                rows.iter()
                    .map(|row| (0..row.len()).map(|column| $as_text(row, column)).collect())
                    .collect()
            }
        }
    )*};
}

asks! {
    Postgres: PgConnection, text;
    Postgres: Checkout<Postgres>, text;
    MySql: MySqlConnection, bytes;
    MySql: Checkout<MySql>, bytes;
    Sqlite: SqliteConnection, text;
    Sqlite: Checkout<Sqlite>, text;
}

/// A value as text. The simple protocol returns every type as text, and all queries to SQLite return text.
fn text<R>(row: &R, column: usize) -> sqlx::Result<Value>
where
    R: Row,
    usize: sqlx::ColumnIndex<R>,
    for<'r> String: sqlx::Decode<'r, R::Database>,
{
    row.try_get_unchecked(column)
}

fn bytes(row: &<MySql as Database>::Row, column: usize) -> sqlx::Result<Value> {
    if row.try_get_raw(column)?.is_null() {
        return Ok(None);
    }
    let bytes: Vec<u8> = row.try_get_unchecked(column)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// A kind of database that can be tortured.
pub(crate) trait Tortured: Database {
    /// The lines, unsorted.
    async fn lines(connection: &mut impl Asks) -> anyhow::Result<Vec<String>>;
}

/// The lines, sorted and without line breaks.
pub(crate) async fn of<DB: Tortured>(connection: &mut impl Asks) -> anyhow::Result<Vec<String>> {
    let mut lines = DB::lines(connection).await?;
    for line in &mut lines {
        *line = line.replace('\n', "⏎");
    }
    lines.sort_unstable();
    Ok(lines)
}

/// The differences between two databases, in readable form.
pub(crate) fn differences(found: &[String], fresh: &[String]) -> Vec<String> {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for line in found {
        *counts.entry(line).or_default() += 1;
    }
    for line in fresh {
        *counts.entry(line).or_default() -= 1;
    }
    let of = |sign: i64| {
        counts
            .iter()
            .filter(move |(_, count)| count.signum() == sign)
            .map(|(line, _)| *line)
    };
    let (more, fewer): (Vec<&str>, Vec<&str>) = (of(1).collect(), of(-1).collect());
    let mut differences = Vec::new();
    for line in &more {
        differences.push(format!("not fresh: {}", part(line, &fewer)));
    }
    for line in &fewer {
        differences.push(format!("missing: {}", part(line, &more)));
    }
    differences
}

/// The part of a line to show: its beginning and, if it is long, its first difference from the most similar one.
fn part(line: &str, others: &[&str]) -> String {
    const SHOWN: usize = 120;
    let letters: Vec<char> = line.chars().collect();
    let in_common = |other: &&str| {
        other
            .chars()
            .zip(&letters)
            .take_while(|(one, other)| one == *other)
            .count()
    };
    let leaves = others.iter().map(in_common).max().unwrap_or_default();
    let text = |letters: &[char]| letters.iter().take(SHOWN).collect::<String>();
    if leaves < SHOWN {
        return text(&letters);
    }
    format!(
        "{} … {}",
        text(&letters[..40]),
        text(&letters[leaves - 20..])
    )
}

impl Tortured for Postgres {
    async fn lines(connection: &mut impl Asks) -> anyhow::Result<Vec<String>> {
        let queries = connection.ask(include_str!("postgres.sql")).await?;
        let queries: Vec<String> = queries.into_iter().flatten().flatten().collect();
        let rows = connection.ask(&queries.join(";")).await?;
        Ok(rows.into_iter().flatten().flatten().collect())
    }
}

impl Tortured for MySql {
    #[allow(clippy::too_many_lines, reason = "one query after another")]
    async fn lines(connection: &mut impl Asks) -> anyhow::Result<Vec<String>> {
        let name = connection.ask("SELECT DATABASE()").await?;
        let name = name
            .into_iter()
            .flatten()
            .flatten()
            .next()
            .context("no database is chosen")?;
        let mut lines = Vec::new();
        let show = [
            (
                "TABLE",
                "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()",
            ),
            (
                "TRIGGER",
                "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE()",
            ),
            (
                "PROCEDURE",
                "SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE() AND routine_type = 'PROCEDURE'",
            ),
            (
                "FUNCTION",
                "SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE() AND routine_type = 'FUNCTION'",
            ),
            (
                "EVENT",
                "SELECT event_name FROM information_schema.events WHERE event_schema = DATABASE()",
            ),
        ];
        for (what, names) in show {
            for object in connection.ask(names).await?.into_iter().flatten().flatten() {
                let quoted = object.replace('`', "``");
                let shown = connection
                    .ask(&format!("SHOW CREATE {what} `{quoted}`"))
                    .await
                    .with_context(|| format!("SHOW CREATE {what} {object}"))?;
                for row in shown {
                    // The last column of a trigger is its creation time.
                    let columns = if what == "TRIGGER" {
                        row.len() - 1
                    } else {
                        row.len()
                    };
                    lines.push(format!("{what} {object}: {}", values(&row[..columns])));
                }
            }
        }
        let tables = "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = DATABASE() \
            AND table_type <> 'VIEW'";
        for table in connection.ask(tables).await? {
            let [Some(table), Some(kind)] = &table[..] else {
                anyhow::bail!("a table without a name")
            };
            let history = if kind == "SYSTEM VERSIONED" {
                " FOR SYSTEM_TIME ALL"
            } else {
                ""
            };
            let columns = if table == MIGRATIONS {
                OF_MIGRATIONS
            } else {
                "*"
            };
            let rows = format!(
                "SELECT {columns} FROM `{}`{history}",
                table.replace('`', "``")
            );
            for row in connection.ask(&rows).await.with_context(|| rows.clone())? {
                lines.push(format!("row of {table}: {}", values(&row)));
            }
        }
        for (what, query) in [
            (
                "database",
                "SELECT default_character_set_name, default_collation_name, schema_comment FROM information_schema.schemata WHERE schema_name = DATABASE()",
            ),
            (
                "right",
                "SELECT grantee, privilege_type FROM information_schema.table_privileges WHERE table_schema = DATABASE()",
            ),
            (
                "right",
                "SELECT grantee, privilege_type FROM information_schema.schema_privileges WHERE table_schema = DATABASE()",
            ),
            (
                "session",
                "SELECT @@foreign_key_checks, @@unique_checks, @@autocommit, @@tx_isolation, @@sql_mode, \
                @@time_zone, @@character_set_client, @@collation_connection, @@auto_increment_increment, @@max_statement_time, \
                @@sql_select_limit, @trace, IS_USED_LOCK('trace') <=> CONNECTION_ID()",
            ),
            (READ_ONLY, "SELECT @@tx_read_only, @@in_transaction"),
        ] {
            for row in connection
                .ask(query)
                .await
                .with_context(|| query.to_owned())?
            {
                lines.push(format!("{what}: {}", values(&row)));
            }
        }
        if connection.ask("SELECT 1 FROM trace_table").await.is_ok() {
            lines.push("session: a temporary table".to_owned());
        }
        Ok(lines
            .into_iter()
            .map(|line| line.replace(&name, "this"))
            .collect())
    }
}

impl Tortured for Sqlite {
    async fn lines(connection: &mut impl Asks) -> anyhow::Result<Vec<String>> {
        let mut lines = Vec::new();
        let schema = "SELECT type || ' ' || name || ' on ' || tbl_name || ': ' || coalesce(sql, '') FROM main.sqlite_schema \
            UNION ALL SELECT 'temporary ' || name FROM temp.sqlite_schema";
        lines.extend(
            connection
                .ask(schema)
                .await?
                .into_iter()
                .flatten()
                .flatten(),
        );
        for pragma in [
            "user_version",
            "application_id",
            "encoding",
            "auto_vacuum",
            "page_size",
            "foreign_keys",
            "journal_mode",
            "case_sensitive_like",
            "recursive_triggers",
            "ignore_check_constraints",
            "defer_foreign_keys",
            "query_only",
        ] {
            let value = connection.ask(&format!("PRAGMA {pragma}")).await?;
            lines.extend(
                value
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|value| format!("{pragma} = {value}")),
            );
        }
        let attached = "SELECT name FROM pragma_database_list WHERE name NOT IN ('main', 'temp')";
        lines.extend(
            connection
                .ask(attached)
                .await?
                .into_iter()
                .flatten()
                .flatten()
                .map(|name| format!("attached: {name}")),
        );
        let tables = "SELECT l.name, group_concat('quote(\"' || c.name || '\")', ' || '', '' || ') \
            FROM pragma_table_list l JOIN pragma_table_info(l.name) c WHERE l.schema = 'main' AND l.type <> 'view' \
            AND l.name <> 'sqlite_schema' GROUP BY l.name";
        for table in connection.ask(tables).await? {
            let [Some(table), Some(columns)] = &table[..] else {
                anyhow::bail!("a table without columns")
            };
            let columns = if table == MIGRATIONS {
                OF_MIGRATIONS
            } else {
                columns
            };
            let rows = format!("SELECT {columns} FROM main.\"{table}\"");
            for row in connection.ask(&rows).await.with_context(|| rows.clone())? {
                lines.push(format!("row of {table}: {}", values(&row)));
            }
        }
        Ok(lines)
    }
}

fn values(row: &[Value]) -> String {
    let values: Vec<&str> = row
        .iter()
        .map(|value| value.as_deref().unwrap_or("NULL"))
        .collect();
    values.join(" | ")
}
