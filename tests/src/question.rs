//! Queries to a server, each on its own connection.
//!
//! A new connection costs milliseconds. In return, a test may restart the server between two
//! queries.

use std::pin::Pin;

use anyhow::Context;
use sqlx::{AssertSqlSafe, ColumnIndex, Connection, Database, Decode, Executor, Row};

/// One row, with each value as the text that the server sent.
pub(crate) type Answer = Vec<Option<String>>;

/// A future of the rows of the last statement.
pub(crate) type Answers<'a> =
    Pin<Box<dyn Future<Output = anyhow::Result<Vec<Answer>>> + Send + 'a>>;

/// Runs `statements` in order and returns the rows of the last.
pub(crate) async fn ask<C>(url: &str, statements: &[String]) -> anyhow::Result<Vec<Answer>>
where
    C: Connection,
    for<'c> &'c mut C: Executor<'c, Database = C::Database>,
    usize: ColumnIndex<<C::Database as Database>::Row>,
    for<'r> String: Decode<'r, C::Database>,
{
    let mut connection = C::connect(url)
        .await
        .context("the tests' own question could not be asked")?;
    let mut rows = Vec::new();
    for statement in statements {
        // The simple protocol returns every type as text.
        rows = sqlx::raw_sql(AssertSqlSafe(statement.clone()))
            .fetch_all(&mut connection)
            .await
            .with_context(|| format!("the tests' own statement failed: {statement}"))?;
    }
    connection.close().await?;
    rows.iter()
        .map(|row| {
            (0..row.len())
                .map(|column| Ok(row.try_get_unchecked(column)?))
                .collect()
        })
        .collect()
}
