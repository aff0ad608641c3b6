//! Shows that a used database equals its template.
//!
//! A database equals its template when
//!
//! - no session is in it;
//! - `SHOW CREATE` gives the same for the database, its tables with their counters and its views, and the lists of
//!   triggers, routines, events and rights are the same;
//! - the tables that are empty in the template are empty, seen by a transaction that waits for other writers, and
//! - the other tables hold the rows of the template.
//!
//! The first two are checked, after the tables that the template does not have are dropped. The last two are brought about:
//! tables are emptied where they are not empty, and filled from the template. Rows are not compared, because the server compares
//! texts by their collation, and its checksum has 32 bits.

use std::fmt::Write;

use sqlx::Row;
use sqlx::mysql::MySqlConnection;

use super::queries::{self, ask_sessions, results};
use super::schema::{Create, Schema, ask_code, ask_listed, created, quote, set_counter, texts};
use crate::testing::server::execute;

/// Settings with short limits for locks, in seconds. No session is in the database, so that a lock belongs to a prepared
/// transaction, or to a session in another database.
const SETTINGS: &str = "SET SESSION lock_wait_timeout = 2, innodb_lock_wait_timeout = 2, foreign_key_checks = 0; \
    SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE; ";

/// They have no rows.
const RESULTS_OF_SETTINGS: usize = 2;

/// What a first look at a database shows, in a fraction of the time that it takes to look through it.
pub(super) struct FirstLook {
    /// The number of sessions in it.
    pub(super) sessions: i64,
    /// Its tables and views, with their kinds and engines.
    listed: Vec<String>,
    /// For each the statement that drops it; `None` when that is not known to remove all of it.
    drops: Vec<Option<String>>,
}

impl FirstLook {
    /// Looks at a database.
    pub(super) async fn new(connection: &mut MySqlConnection, name: &str) -> sqlx::Result<Self> {
        let asked = format!("{}; {}", ask_sessions(name), ask_listed(name));
        let results = results(connection, asked).await?;
        let [sessions, rows, ..] = results.as_slice() else {
            return Err(sqlx::Error::RowNotFound);
        };
        let sessions = sessions.first().ok_or(sqlx::Error::RowNotFound)?;
        let mut look = Self {
            sessions: sessions.try_get(0)?,
            listed: Vec::new(),
            drops: Vec::new(),
        };
        for row in rows {
            let (table, is_plain): (String, i64) = (row.try_get(1)?, row.try_get(2)?);
            let drop = format!("DROP TABLE {name}.{};", quote(&table));
            look.listed.push(row.try_get(0)?);
            look.drops.push((is_plain == 1).then_some(drop));
        }
        Ok(look)
    }

    /// Drops the tables that the template does not have. False when the database then still lists something else.
    pub(super) async fn drop_further_tables(
        &self,
        template: &Schema,
        connection: &mut MySqlConnection,
        name: &str,
    ) -> sqlx::Result<bool> {
        if self.listed == template.listed {
            return Ok(true);
        }
        let mut drops = String::new();
        for (listed, drop) in self.listed.iter().zip(&self.drops) {
            match drop {
                _ if template.listed.contains(listed) => {}
                Some(drop) => drops.push_str(drop),
                None => return Ok(false),
            }
        }
        if self.listed.len() < template.listed.len() || drops.is_empty() {
            return Ok(false);
        }
        let drops = format!("SET SESSION lock_wait_timeout = 2, foreign_key_checks = 0; {drops}");
        execute(connection, drops).await?;
        let now = Self::new(connection, name).await?;
        Ok(now.sessions == 0 && now.listed == template.listed)
    }
}

/// Shows that a leased database in which no session is is what its template is; false when that cannot be shown. An error says
/// so too.
pub(super) async fn clean(
    template: &Schema,
    connection: &mut MySqlConnection,
    name: &str,
) -> sqlx::Result<bool> {
    let code = ask_code(name, template.code.is_empty(), !template.tables.is_empty());
    let mut asked = format!("SHOW CREATE DATABASE {name}; {}; ", code.join("; "));
    for (view, _) in &template.views {
        // Writing to a string does not fail.
        let _ = write!(asked, "SHOW CREATE TABLE {name}.{view}; ");
    }
    if !template.tables.is_empty() {
        asked.push_str(SETTINGS);
    }
    for table in &template.tables {
        // The lock waits for transactions that have written.
        let table = &table.name;
        let _ = write!(
            asked,
            "SHOW CREATE TABLE {name}.{table}; SELECT 1 FROM {name}.{table} LIMIT 1 LOCK IN SHARE MODE; "
        );
    }
    let results = results(connection, asked).await?;
    let [create, rest @ ..] = results.as_slice() else {
        return Err(sqlx::Error::RowNotFound);
    };
    let (code, rest) = rest
        .split_at_checked(code.len())
        .ok_or(sqlx::Error::RowNotFound)?;
    if created(name, create)? != template.create || texts(name, code)? != template.code {
        return Ok(false);
    }
    let mut rest = rest.iter();
    for (_, create) in &template.views {
        let rows = rest.next().ok_or(sqlx::Error::RowNotFound)?;
        if created(name, rows)? != *create {
            return Ok(false);
        }
    }
    let mut rest = rest.skip(RESULTS_OF_SETTINGS);
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
        // `TRUNCATE` resets the counter, and fires no trigger.
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
