//! Marks: the states of databases, as rows in a database of their own, which is made for the first row.
//!
//! | table | meaning of a row |
//! |---|---|
//! | `complete` | a template is complete, and its last use, or a clone equals its template, until the server is restarted |
//! | `kept` | a clone is kept for inspection |
//!
//! A start of the server empties `complete`, which is of the engine MEMORY, if the server has that engine:
//! <https://mariadb.com/kb/en/memory-storage-engine/>. Else the incarnation identifies rows from before the start.
//!
//! The incarnation in the row of a template is followed by `-` and a random number, which tells the template from one of the
//! same name that is made after its removal.

use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, Row};

use super::queries::{SESSIONS, number, results, sessions_in};
use crate::testing::retention::{KeptTest, now, today};
use crate::testing::server::{PREFIX, execute};
use crate::testing::test::Test;

/// The tables.
const COMPLETE: &str = "poolhouse_marks.complete";
const KEPT: &str = "poolhouse_marks.kept";

/// The names of the test databases, and their marks.
#[derive(Default)]
pub(super) struct Marks {
    pub(super) names: Vec<String>,
    pub(super) complete: Vec<CompleteMark>,
    pub(super) kept: Vec<KeptMark>,
}

/// The mark of a complete template or clone.
pub(super) struct CompleteMark {
    pub(super) database: String,
    pub(super) incarnation: String,
    /// The day since 1970 on which it was last used.
    pub(super) day: u64,
}

/// The mark of a kept clone.
pub(super) struct KeptMark {
    pub(super) database: String,
    /// The second since 1970.
    pub(super) since: u64,
    /// A [`KeptTest`].
    pub(super) test: String,
}

impl Marks {
    /// Reads all names and marks.
    pub(super) async fn read(connection: &mut MySqlConnection) -> sqlx::Result<Self> {
        let names = format!(
            "SELECT CAST(schema_name AS CHAR) FROM information_schema.schemata WHERE LEFT(schema_name, {}) = '{PREFIX}' ORDER BY 1",
            PREFIX.len()
        );
        let marks = format!(
            "SELECT database_name, incarnation, day FROM {COMPLETE}; SELECT database_name, since, test FROM {KEPT}"
        );
        let all = match if_there(results(connection, format!("{names}; {marks}")).await)? {
            Some(all) => all,
            None => vec![results(connection, names).await?.remove(0)],
        };
        let mut marks = Self::default();
        for row in all.first().into_iter().flatten() {
            marks.names.push(row.try_get(0)?);
        }
        for row in all.get(1).into_iter().flatten() {
            marks.complete.push(complete(row)?);
        }
        for row in all.get(2).into_iter().flatten() {
            marks.kept.push(KeptMark {
                database: row.try_get(0)?,
                since: row.try_get(1)?,
                test: row.try_get(2)?,
            });
        }
        Ok(marks)
    }
}

fn complete(row: &MySqlRow) -> sqlx::Result<CompleteMark> {
    Ok(CompleteMark {
        database: row.try_get(0)?,
        incarnation: row.try_get(1)?,
        day: row.try_get(2)?,
    })
}

/// A new mark of a template that is complete in this incarnation of the server.
pub(super) fn of_template(incarnation: &str) -> String {
    format!("{incarnation}-{:08x}", fastrand::u32(..))
}

/// Marks a template as complete.
pub(super) async fn set_complete(
    connection: &mut MySqlConnection,
    template: &str,
    mark: &str,
) -> sqlx::Result<()> {
    let day = today();
    let set = format!("REPLACE INTO {COMPLETE} VALUES ('{template}', '{mark}', {day})");
    write(connection, set).await
}

/// Marks a database as equal to its template in this incarnation of the server. False if the template does not have this mark
/// any more: the mark is removed before the template, so all that was read from a template that has it was complete.
pub(super) async fn set_equal(
    connection: &mut MySqlConnection,
    database: &str,
    incarnation: &str,
    template: &str,
    mark: &str,
) -> sqlx::Result<bool> {
    let day = today();
    let set = format!(
        "INSERT INTO {COMPLETE} SELECT '{database}', '{incarnation}', {day} FROM {COMPLETE} \
         WHERE database_name = '{template}' AND incarnation = '{mark}'"
    );
    let set = sqlx::raw_sql(AssertSqlSafe(set)).execute(connection).await;
    Ok(if_there(set)?.is_some_and(|set| set.rows_affected() == 1))
}

/// The mark of a template that is complete. Notes that the template is used today.
pub(super) async fn find(
    connection: &mut MySqlConnection,
    template: &str,
    incarnation: &str,
) -> sqlx::Result<Option<String>> {
    let day = today();
    let ask = format!(
        "SELECT database_name, incarnation, day FROM {COMPLETE} \
         WHERE database_name = '{template}' AND incarnation LIKE '{incarnation}-%'"
    );
    let rows = if_there(results(connection, ask).await)?.unwrap_or_default();
    let Some(row) = rows.iter().flatten().next() else {
        return Ok(None);
    };
    let found = complete(row)?;
    if found.day != day {
        let set = format!("UPDATE {COMPLETE} SET day = {day} WHERE database_name = '{template}'");
        execute(connection, set).await?;
    }
    Ok(Some(found.incarnation))
}

/// Removes the mark of a complete clone; false when there was none.
pub(super) async fn take(
    connection: &mut MySqlConnection,
    database: &str,
    incarnation: &str,
) -> sqlx::Result<bool> {
    let take = format!(
        "DELETE FROM {COMPLETE} WHERE database_name = '{database}' AND incarnation = '{incarnation}'"
    );
    let taken = sqlx::raw_sql(AssertSqlSafe(take)).execute(connection).await;
    Ok(if_there(taken)?.is_some_and(|taken| taken.rows_affected() == 1))
}

/// Marks a clone as kept.
pub(super) async fn set_kept(
    connection: &mut MySqlConnection,
    database: &str,
    test: &Test,
) -> sqlx::Result<()> {
    let since = now();
    // Neither the run nor the name of a test needs escaping.
    let set = format!(
        "REPLACE INTO {KEPT} VALUES ('{database}', {since}, '{}')",
        KeptTest::now(test)
    );
    write(connection, set).await
}

/// The statements that remove the marks of a database. The tables must exist.
pub(super) fn removal(database: &str) -> String {
    format!(
        "DELETE FROM {COMPLETE} WHERE database_name = '{database}'; DELETE FROM {KEPT} WHERE database_name = '{database}'"
    )
}

/// Removes the marks of a database, and then returns the ids of the sessions in it.
pub(super) async fn remove(
    connection: &mut MySqlConnection,
    database: &str,
) -> sqlx::Result<Vec<i64>> {
    let asked = format!("{}; {SESSIONS}", removal(database));
    let shown = match if_there(results(connection, asked).await)? {
        Some(shown) => shown,
        None => results(connection, SESSIONS.to_owned()).await?,
    };
    // Only the sessions have rows.
    sessions_in(database, shown.iter().flatten())
}

/// Drops the tables, with their database.
pub(super) async fn remove_all(connection: &mut MySqlConnection) -> sqlx::Result<()> {
    execute(
        connection,
        "DROP DATABASE IF EXISTS poolhouse_marks".to_owned(),
    )
    .await
}

/// Writes a row, after making the tables if needed.
async fn write(connection: &mut MySqlConnection, row: String) -> sqlx::Result<()> {
    if if_there(execute(connection, row.clone()).await)?.is_none() {
        make(connection).await?;
        execute(connection, row).await?;
    }
    Ok(())
}

/// Makes the tables. Several processes may do so at a time.
async fn make(connection: &mut MySqlConnection) -> sqlx::Result<()> {
    let kept = format!(
        "CREATE DATABASE IF NOT EXISTS poolhouse_marks; \
         CREATE TABLE IF NOT EXISTS {KEPT} (database_name VARCHAR(64) CHARACTER SET ascii PRIMARY KEY, \
            since BIGINT UNSIGNED NOT NULL, test VARCHAR(1000) CHARACTER SET utf8mb4 NOT NULL)"
    );
    execute(connection, kept).await?;
    let complete = format!(
        "CREATE TABLE IF NOT EXISTS {COMPLETE} (database_name VARCHAR(64) CHARACTER SET ascii PRIMARY KEY, \
            incarnation VARCHAR(32) CHARACTER SET ascii NOT NULL, day BIGINT UNSIGNED NOT NULL)"
    );
    let in_memory = format!("{complete} ENGINE = MEMORY");
    if execute(connection, in_memory).await.is_err() {
        // The server allows other engines only.
        execute(connection, complete).await?;
    }
    Ok(())
}

/// The result of a statement on the tables. `None` if they do not exist, or the user has no right to them, and so has written
/// nothing there.
fn if_there<T>(result: sqlx::Result<T>) -> sqlx::Result<Option<T>> {
    match result {
        // An unknown database and table, and access denied to them: <https://mariadb.com/kb/en/mariadb-error-code-reference/>.
        Err(error) if matches!(number(&error), Some(1049 | 1146 | 1044 | 1142)) => Ok(None),
        result => result.map(Some),
    }
}
