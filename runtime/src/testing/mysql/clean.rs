//! Showing that a used database is what its template is.
//!
//! A database is what its template is when
//!
//! - no session is in it;
//! - what `SHOW CREATE` tells of it, its tables with their counters and its views is the same, and its list of triggers and
//!   routines;
//! - the tables that are empty in the template are empty, seen by a transaction that waits for others that have written, and
//! - the other tables hold the rows of the template.
//!
//! The first two are looked at. The last two are brought about: tables are emptied where they are not empty, and filled from
//! the template. Rows are not compared, because the server compares texts by their collation, and its checksum has 32 bits.

use std::fmt::Write;

use sqlx::Row;
use sqlx::mysql::MySqlConnection;

use super::queries::{self, results};
use super::schema::{Create, Outline, Schema, ask_outline, set_counter};
use crate::testing::server::execute;

/// No session is in the database, so that a lock there is of a prepared transaction, or of one in another database.
const SETTINGS: &str = "SET SESSION lock_wait_timeout = 2, innodb_lock_wait_timeout = 2, foreign_key_checks = 0; \
    SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE";

/// Shows that a leased database is what its template is; false when that cannot be shown. An error says so too.
pub(super) async fn clean(
    template: &Schema,
    connection: &mut MySqlConnection,
    name: &str,
) -> sqlx::Result<bool> {
    if template.lists_others(connection, name).await? {
        return Ok(false);
    }
    let asked = format!(
        "{SETTINGS}; {}{}",
        ask_outline(name, !template.code.is_empty()),
        ask_content(template, name)
    );
    let mut results = results(connection, asked).await?;
    // The settings have no rows.
    results.drain(..2);
    let outline = Outline::read(name, &results)?;
    let expected = Outline {
        create: template.create.clone(),
        listed: template.listed.clone(),
        code: template.code.clone(),
    };
    if outline != expected {
        return Ok(false);
    }
    let mut rest = results.iter().skip(6);
    for (_, create) in &template.views {
        let row = rest.next().and_then(|rows| rows.first());
        let now: String = row.ok_or(sqlx::Error::RowNotFound)?.try_get(1)?;
        if now.replace(name, "") != *create {
            return Ok(false);
        }
    }
    let mut undo = String::new();
    let mut look_again = Vec::new();
    let mut filled = Vec::new();
    for table in &template.tables {
        let row = rest.next().and_then(|rows| rows.first());
        let now = Create::new(row.ok_or(sqlx::Error::RowNotFound)?.try_get(1)?);
        if now.sql != table.create.sql {
            return Ok(false);
        }
        let has_rows = rest.next().is_some_and(|rows| !rows.is_empty());
        let has_counted = now.counter != table.create.counter;
        if table.columns.is_none() && !has_rows && !has_counted {
            continue;
        }
        // It sets the counter back, and fires no trigger.
        let empty = if has_counted || table.has_triggers {
            "TRUNCATE TABLE"
        } else {
            "DELETE FROM"
        };
        // Writing to a string does not fail.
        let _ = write!(undo, "{empty} {name}.{};", table.name);
        filled.push(template.fill(name, table));
        if table.create.counts() {
            filled.push(set_counter(name, table));
            look_again.push(table);
        }
    }
    if undo.is_empty() {
        return Ok(true);
    }
    execute(
        connection,
        format!("START TRANSACTION; {undo}{} COMMIT", filled.concat()),
    )
    .await?;
    for table in look_again {
        let create = format!("SHOW CREATE TABLE {name}.{}", table.name);
        let rows = queries::results(connection, create).await?;
        let row = rows.first().and_then(|rows| rows.first());
        let now = Create::new(row.ok_or(sqlx::Error::RowNotFound)?.try_get(1)?);
        if now != table.create {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The statements that tell what views and tables are, and a row of each table that has one.
fn ask_content(template: &Schema, name: &str) -> String {
    let mut ask = String::new();
    for (view, _) in &template.views {
        let _ = write!(ask, "SHOW CREATE TABLE {name}.{view};");
    }
    for table in &template.tables {
        // The lock waits for transactions that have written.
        let table = &table.name;
        let _ = write!(
            ask,
            "SHOW CREATE TABLE {name}.{table}; SELECT 1 FROM {name}.{table} LIMIT 1 LOCK IN SHARE MODE;"
        );
    }
    ask
}
