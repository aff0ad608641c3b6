//! A database as statements that make another one like it.

use std::fmt::Write;

use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Row};

/// The tables of a database, with their rows where there are some.
pub(super) struct Schema {
    /// The template's name, from which rows are copied.
    name: String,
    /// Its character set and collation.
    defaults: String,
    /// For each table its name, the statement that creates it, and the columns of its rows when it has any.
    tables: Vec<(String, String, Option<String>)>,
}

impl Schema {
    /// Reads a database; `None` when it holds more than tables. Views, triggers, routines and events name databases and
    /// users in their texts, and are made again only by what has made them first.
    pub(super) async fn read(
        connection: &mut MySqlConnection,
        name: &str,
    ) -> sqlx::Result<Option<Self>> {
        let others: i64 = sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM information_schema.tables WHERE table_schema = ? AND table_type <> 'BASE TABLE') \
             + (SELECT count(*) FROM information_schema.triggers WHERE trigger_schema = ?) \
             + (SELECT count(*) FROM information_schema.routines WHERE routine_schema = ?) \
             + (SELECT count(*) FROM information_schema.events WHERE event_schema = ?)",
        )
        .bind(name)
        .bind(name)
        .bind(name)
        .bind(name)
        .fetch_one(&mut *connection)
        .await?;
        if others > 0 {
            return Ok(None);
        }
        let row = sqlx::query(
            "SELECT CAST(default_character_set_name AS CHAR), CAST(default_collation_name AS CHAR) \
             FROM information_schema.schemata WHERE schema_name = ?",
        )
        .bind(name)
        .fetch_one(&mut *connection)
        .await?;
        let defaults = format!(
            "CHARACTER SET {} COLLATE {}",
            row.get::<String, _>(0),
            row.get::<String, _>(1)
        );
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT CAST(table_name AS CHAR) FROM information_schema.tables WHERE table_schema = ? ORDER BY 1",
        )
        .bind(name)
        .fetch_all(&mut *connection)
        .await?;
        let mut tables = Vec::with_capacity(names.len());
        for table in names {
            let quoted = quote(&table);
            let create = sqlx::raw_sql(AssertSqlSafe(format!("SHOW CREATE TABLE {name}.{quoted}")))
                .fetch_one(&mut *connection)
                .await?;
            let filled = sqlx::raw_sql(AssertSqlSafe(format!(
                "SELECT EXISTS (SELECT 1 FROM {name}.{quoted})"
            )))
            .fetch_one(&mut *connection)
            .await?;
            let columns = if filled.get::<i64, _>(0) == 1 {
                Some(columns(connection, name, &table).await?)
            } else {
                None
            };
            tables.push((quoted, create.get(1), columns));
        }
        Ok(Some(Self {
            name: name.to_owned(),
            defaults,
            tables,
        }))
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// The statements that make an empty database of this name.
    pub(super) fn begin(&self, name: &str) -> String {
        format!(
            "DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name} {};",
            self.defaults
        )
    }

    /// The statements that make the database of this name, all in one.
    pub(super) fn replay(&self, name: &str) -> String {
        let mut script = format!(
            "{} USE {name}; \
             SET SESSION foreign_key_checks = 0, sql_mode = 'NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION';",
            self.begin(name)
        );
        for (table, create, columns) in &self.tables {
            // Writing to a string does not fail.
            let _ = write!(script, "{create};");
            if let Some(columns) = columns {
                let _ = write!(
                    script,
                    "INSERT INTO {table} ({columns}) SELECT {columns} FROM {}.{table};",
                    self.name
                );
            }
        }
        script
    }
}

/// The columns of a table that hold what was written to them.
async fn columns(
    connection: &mut MySqlConnection,
    database: &str,
    table: &str,
) -> sqlx::Result<String> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT CAST(column_name AS CHAR) FROM information_schema.columns \
         WHERE table_schema = ? AND table_name = ? AND extra NOT LIKE '%GENERATED%' ORDER BY ordinal_position",
    )
    .bind(database)
    .bind(table)
    .fetch_all(connection)
    .await?;
    let quoted: Vec<String> = names.iter().map(|name| quote(name)).collect();
    Ok(quoted.join(", "))
}

fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
