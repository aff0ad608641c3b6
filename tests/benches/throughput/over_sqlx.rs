//! The contenders over sqlx's connections: the engine, `sqlx::Pool`, bb8, and the connections alone.

use sqlx::{ConnectOptions, Connection, Database};

type OptionsOf<DB> = <<DB as Database>::Connection as Connection>::Options;

/// A manager for bb8, as its users write one.
pub(crate) struct Manager<DB: Database>(pub(crate) OptionsOf<DB>);

impl<DB: Database> bb8::ManageConnection for Manager<DB>
where
    OptionsOf<DB>: Sync,
{
    type Connection = DB::Connection;
    type Error = sqlx::Error;

    async fn connect(&self) -> sqlx::Result<DB::Connection> {
        self.0.connect().await
    }

    async fn is_valid(&self, connection: &mut DB::Connection) -> sqlx::Result<()> {
        connection.ping().await
    }

    fn has_broken(&self, _: &mut DB::Connection) -> bool {
        false
    }
}

/// Defines `contenders(url)` and the queries for one database. It is a macro, because the bounds of functions that are generic
/// over the database and the executor would be longer than their bodies.
macro_rules! over_sqlx {
    ($database:ty, $connection:ty, name: $name:literal, point: $point:literal, insert: $insert:literal, rows: $rows:literal $(,)?) => {
        use anyhow::ensure;
        use futures_util::future::try_join_all;
        use poolhouse::{Engine, Settings, engine_finder_with};
        use sqlx::ConnectOptions;
        use sqlx::pool::PoolOptions;
        use tokio::sync::OwnedMutexGuard;

        use crate::bare_queue::BareQueue;
        use crate::contender::{CONNECTIONS, Contender, Worker};
        use crate::over_sqlx::Manager;
        use crate::statement::{ROWS, SCHEMA, Statement};

        /// A started engine on this database, with its tables created.
        pub(crate) async fn engine(url: &str) -> anyhow::Result<Engine<$database>> {
            let size = u32::try_from(CONNECTIONS)?;
            let settings = Settings::new()
                .engine($name)
                .url(url)
                .max_size(size)
                .min_size(size);
            let engine = engine_finder_with::<$database>(&settings)?;
            engine.start_connection_pool().await?;
            for statement in SCHEMA {
                sqlx::raw_sql(*statement).execute(&engine).await?;
            }
            Ok(engine)
        }

        /// The engine first, then the others, all with the engine's connect options.
        pub(crate) async fn contenders(
            engine: &Engine<$database>,
        ) -> anyhow::Result<Vec<Contender>> {
            let size = u32::try_from(CONNECTIONS)?;
            let options = engine.connect_options();
            let pool = PoolOptions::<$database>::new()
                .max_connections(size)
                .connect_with(options.clone())
                .await?;
            let bb8 = bb8::Pool::builder()
                .max_size(size)
                .build(Manager::<$database>(options.clone()))
                .await?;
            let queued = try_join_all((0..CONNECTIONS).map(|_| options.connect())).await?;
            let dedicated = try_join_all((0..CONNECTIONS).map(|_| options.connect())).await?;
            Ok(vec![
                Contender::pool("engine", engine.clone()),
                Contender::pool("sqlx::Pool", pool),
                Contender::pool("bb8", bb8),
                Contender::pool("bare queue", BareQueue::new(queued)),
                Contender::dedicated("dedicated", dedicated),
            ])
        }

        macro_rules! ask {
            ($executor:expr, $statement:ident, $key:ident) => {
                match $statement {
                    Statement::One => {
                        let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one($executor).await?;
                        ensure!(one == 1);
                    }
                    Statement::Point => {
                        let (id, _): (i32, String) = sqlx::query_as($point)
                            .bind($key)
                            .fetch_one($executor)
                            .await?;
                        ensure!(id == $key);
                    }
                    Statement::Insert => {
                        let result = sqlx::query($insert)
                            .bind($key)
                            .bind("a note")
                            .execute($executor)
                            .await?;
                        ensure!(result.rows_affected() == 1);
                    }
                    Statement::Rows => {
                        let rows: Vec<(i32, String)> = sqlx::query_as($rows)
                            .bind($key)
                            .fetch_all($executor)
                            .await?;
                        ensure!(rows.len() == ROWS);
                    }
                }
            };
        }

        impl Worker for Engine<$database> {
            async fn ask(&mut self, statement: Statement, key: i32) -> anyhow::Result<()> {
                ask!(&*self, statement, key);
                Ok(())
            }
        }

        impl Worker for sqlx::Pool<$database> {
            async fn ask(&mut self, statement: Statement, key: i32) -> anyhow::Result<()> {
                ask!(&*self, statement, key);
                Ok(())
            }
        }

        impl Worker for bb8::Pool<Manager<$database>> {
            async fn ask(&mut self, statement: Statement, key: i32) -> anyhow::Result<()> {
                let mut connection = self.get().await?;
                ask!(&mut *connection, statement, key);
                Ok(())
            }
        }

        impl Worker for BareQueue<$connection> {
            async fn ask(&mut self, statement: Statement, key: i32) -> anyhow::Result<()> {
                let mut connection = self.take().await?;
                ask!(&mut connection, statement, key);
                self.give_back(connection);
                Ok(())
            }
        }

        impl Worker for OwnedMutexGuard<$connection> {
            async fn ask(&mut self, statement: Statement, key: i32) -> anyhow::Result<()> {
                ask!(&mut **self, statement, key);
                Ok(())
            }
        }
    };
}

pub(crate) mod postgres {
    over_sqlx! {
        sqlx::Postgres, sqlx::PgConnection,
        name: "postgres",
        point: "SELECT id, name FROM item WHERE id = $1",
        insert: "INSERT INTO entry (item, note) VALUES ($1, $2)",
        rows: "SELECT id, name FROM item WHERE id >= $1 ORDER BY id LIMIT 100",
    }
}

pub(crate) mod mysql {
    over_sqlx! {
        sqlx::MySql, sqlx::MySqlConnection,
        name: "mysql",
        point: "SELECT id, name FROM item WHERE id = ?",
        insert: "INSERT INTO entry (item, note) VALUES (?, ?)",
        rows: "SELECT id, name FROM item WHERE id >= ? ORDER BY id LIMIT 100",
    }
}

pub(crate) mod sqlite {
    over_sqlx! {
        sqlx::Sqlite, sqlx::SqliteConnection,
        name: "sqlite",
        point: "SELECT id, name FROM item WHERE id = ?",
        insert: "INSERT INTO entry (item, note) VALUES (?, ?)",
        rows: "SELECT id, name FROM item WHERE id >= ? ORDER BY id LIMIT 100",
    }
}
