//! Shows that a used database equals its template.
//!
//! A database equals its template when
//!
//! - no session is in it;
//! - `SHOW CREATE` gives the same for the database, its tables with their counters, its views and its routines, and the lists of
//!   triggers, routines, events and rights are the same, with the character sets and collations of views and code;
//! - no table of another database refers to it;
//! - no key of a table is disabled;
//! - the tables that are empty in the template are empty, seen by a transaction that waits for other writers, and
//! - the other tables hold the rows of the template.
//!
//! The first four are checked, after the tables that the template does not have are dropped. The last two are brought about:
//! tables are emptied where they are not empty or have a full-text index, and filled from the template. Rows are not compared,
//! because the server compares texts by their collation, and its checksum has 32 bits.

use std::fmt::Write;

use sqlx::Row;
use sqlx::mysql::MySqlConnection;

use super::kind::MySqlKind;
use super::look::Look;
use super::queries::results;
use super::schema::{Create, Schema, ask_listed, set_counter, shown_routine, shown_view};
use crate::error::Error;
use crate::testing::server::{ServerSession, execute};

/// Settings with short limits for locks, in seconds. No session is in the database, so that a lock belongs to a prepared
/// transaction, or to a session in another database.
const SETTINGS: &str = "SET SESSION lock_wait_timeout = 2, innodb_lock_wait_timeout = 2, foreign_key_checks = 0; \
    SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE";

/// The number of results of [`SETTINGS`], which have no rows.
const RESULTS_OF_SETTINGS: usize = 2;

/// Shows that a leased database is what its template is. Returns false when that cannot be shown; an error means the same.
pub(super) async fn clean(
    session: &ServerSession<MySqlKind>,
    template: &Schema,
    connection: &mut MySqlConnection,
    name: &str,
) -> Result<bool, Error> {
    let mut look = Look::new(connection, template, name).await?;
    if look.sessions > 0 {
        if !session.until_quiet(name).await? {
            return Ok(false);
        }
        look = Look::new(connection, template, name).await?;
    }
    let has_the_tables = match look.further_tables(template) {
        Some(drops) if drops.is_empty() => true,
        Some(drops) => drop_tables(template, connection, name, &drops).await?,
        None => false,
    };
    Ok(has_the_tables && restore_rows(template, connection, name).await?)
}

/// Drops tables. Returns whether the database then lists what its template does.
async fn drop_tables(
    template: &Schema,
    connection: &mut MySqlConnection,
    name: &str,
    drops: &str,
) -> sqlx::Result<bool> {
    // The rows come after the results of the settings and the drops.
    let dropped = format!(
        "SET SESSION foreign_key_checks = 0; {drops} {}",
        ask_listed(name)
    );
    let shown = results(connection, dropped).await?;
    let listed = shown.iter().flatten().map(|row| row.try_get(0));
    Ok(listed.collect::<sqlx::Result<Vec<String>>>()? == template.listed)
}

/// Compares tables, views and routines, whose names are those of the template, and restores the rows. Returns false when one of
/// them differs.
async fn restore_rows(
    template: &Schema,
    connection: &mut MySqlConnection,
    name: &str,
) -> sqlx::Result<bool> {
    let Schema {
        tables,
        views,
        routines,
        ..
    } = template;
    if tables.is_empty() && views.is_empty() && routines.is_empty() {
        return Ok(true);
    }
    let asked = format!("{SETTINGS}; {}", ask_content(template, name));
    let shown = results(connection, asked).await?;
    let mut rest = shown.iter().skip(RESULTS_OF_SETTINGS);
    for (_, view) in views {
        let row = rest.next().and_then(|rows| rows.first());
        if shown_view(name, row.ok_or(sqlx::Error::RowNotFound)?)? != *view {
            return Ok(false);
        }
    }
    for routine in routines {
        let row = rest.next().and_then(|rows| rows.first());
        if shown_routine(name, row.ok_or(sqlx::Error::RowNotFound)?)? != routine.shown {
            return Ok(false);
        }
    }
    let mut undo = String::new();
    let mut look_again = Vec::new();
    let mut filled = Vec::new();
    for table in tables {
        let row = rest.next().and_then(|rows| rows.first());
        let now = Create::new(row.ok_or(sqlx::Error::RowNotFound)?.try_get(1)?);
        if now.sql != table.create.sql {
            return Ok(false);
        }
        let has_rows = rest.next().is_some_and(|rows| !rows.is_empty());
        if table.can_disable_keys() && rest.next().is_none_or(|rows| !rows.is_empty()) {
            return Ok(false);
        }
        let has_counted = now.counter != table.create.counter;
        if table.columns.is_none() && !has_rows && !has_counted && !table.has_full_text() {
            continue;
        }
        // `TRUNCATE` resets the counter, and fires no trigger.
        let empty = if table.is_truncated() || has_counted {
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
        let rows = results(connection, create).await?;
        let row = rows.first().and_then(|rows| rows.first());
        let now = Create::new(row.ok_or(sqlx::Error::RowNotFound)?.try_get(1)?);
        if now != table.create {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The statements that show the views, routines and tables, a row of each table that has one, and the disabled keys of each table
/// that can have some.
fn ask_content(template: &Schema, name: &str) -> String {
    let mut ask = String::new();
    for (view, _) in &template.views {
        // Writing to a string does not fail.
        let _ = write!(ask, "SHOW CREATE TABLE {name}.{view}; ");
    }
    for routine in &template.routines {
        let _ = write!(ask, "{}; ", routine.show(name));
    }
    for table in &template.tables {
        // The lock waits for transactions that have written.
        let quoted = &table.name;
        let _ = write!(
            ask,
            "SHOW CREATE TABLE {name}.{quoted}; SELECT 1 FROM {name}.{quoted} LIMIT 1 LOCK IN SHARE MODE; "
        );
        if table.can_disable_keys() {
            // <https://mariadb.com/kb/en/show-index/>
            let _ = write!(
                ask,
                "SHOW INDEX FROM {name}.{quoted} WHERE Comment = 'disabled'; "
            );
        }
    }
    ask
}
