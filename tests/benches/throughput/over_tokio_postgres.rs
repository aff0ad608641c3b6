//! The contender with another driver: deadpool-postgres over tokio-postgres, with cached
//! statements.

use anyhow::ensure;
use deadpool_postgres::{Manager, Pool};
use tokio_postgres::NoTls;

use crate::contender::{CONNECTIONS, Contender, Worker};
use crate::statement::{ROWS, Statement};

pub(crate) fn contender(url: &str) -> anyhow::Result<Contender> {
    let manager = Manager::new(url.parse()?, NoTls);
    let pool = Pool::builder(manager).max_size(CONNECTIONS).build()?;
    Ok(Contender::pool("deadpool-postgres", pool))
}

impl Worker for Pool {
    async fn ask(&mut self, statement: Statement, key: i32) -> anyhow::Result<()> {
        let client = self.get().await?;
        match statement {
            Statement::One => {
                let query = client.prepare_cached("SELECT 1").await?;
                let row = client.query_one(&query, &[]).await?;
                ensure!(row.try_get::<_, i32>(0)? == 1);
            }
            Statement::Point => {
                let query = client
                    .prepare_cached("SELECT id, name FROM item WHERE id = $1")
                    .await?;
                let row = client.query_one(&query, &[&key]).await?;
                let (id, _): (i32, String) = (row.try_get(0)?, row.try_get(1)?);
                ensure!(id == key);
            }
            Statement::Insert => {
                let query = client
                    .prepare_cached("INSERT INTO entry (item, note) VALUES ($1, $2)")
                    .await?;
                ensure!(client.execute(&query, &[&key, &"a note"]).await? == 1);
            }
            Statement::Rows => {
                let query = client
                    .prepare_cached(
                        "SELECT id, name FROM item WHERE id >= $1 ORDER BY id LIMIT 100",
                    )
                    .await?;
                let rows = client.query(&query, &[&key]).await?;
                let rows: Vec<(i32, String)> = rows
                    .iter()
                    .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
                    .collect::<Result<_, tokio_postgres::Error>>()?;
                ensure!(rows.len() == ROWS);
            }
        }
        Ok(())
    }
}
