//! The database of an event, and the requests' rows in it.

use poolhouse_tests::{CaseDatabase, eventually};
use sqlx::Postgres;

/// A database with the services' table; `None` outside `tests/run`.
pub(crate) async fn database() -> anyhow::Result<Option<CaseDatabase>> {
    let database = CaseDatabase::of::<Postgres>("events").await?;
    if let Some(database) = &database {
        table(database).await?;
    }
    Ok(database)
}

/// Creates the services' table.
pub(crate) async fn table(database: &CaseDatabase) -> anyhow::Result<()> {
    database
        .run::<Postgres>("CREATE TABLE entry (id INTEGER PRIMARY KEY)")
        .await
}

/// Waits until the database has no open transaction.
pub(crate) async fn no_transaction(database: &CaseDatabase) -> anyhow::Result<()> {
    eventually("no transaction is open", async || {
        let open = database.database()?.idle_in_transaction().await?;
        anyhow::ensure!(open == 0, "{open} are open");
        Ok(())
    })
    .await
}

/// Whether the row of a request is committed.
pub(crate) async fn committed(database: &CaseDatabase, key: i32) -> anyhow::Result<bool> {
    Ok(rows(database, &format!("id = {key}")).await? > 0)
}

/// The number of committed rows for which `condition` holds.
pub(crate) async fn rows(database: &CaseDatabase, condition: &str) -> anyhow::Result<usize> {
    let sql = format!("SELECT count(*) FROM entry WHERE {condition}");
    Ok(usize::try_from(database.answer::<Postgres>(&sql).await?)?)
}
