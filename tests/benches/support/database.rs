//! A database to measure on: of the server that the environment names, or of a private one.

use anyhow::Context;
use poolhouse_tests::{Kind, PrivateServer, Server, TestDatabase};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use url::Url;

/// A database that is gone, with its server if that is private, when the value is dropped.
pub(crate) struct Measured {
    pub(crate) database: TestDatabase,
    // Below the database: fields are dropped in this order, and the database needs its server for that.
    _server: Option<PrivateServer>,
}

/// An empty database. `POOLHOUSE_TEST_POSTGRES_URL` and `POOLHOUSE_TEST_MYSQL_URL` name servers; without them a private
/// one is started, which writes nothing through to the disk, so that a commit does not hide what is measured.
pub(crate) async fn database(kind: Kind) -> anyhow::Result<Measured> {
    let (server, private) = if let Some(server) = Server::from_environment(kind) {
        (server, None)
    } else {
        // Every contender keeps its connections open all the time.
        let mut builder = PrivateServer::of(kind).setting("max_connections", 400);
        if kind == Kind::MariaDb {
            // The tests look through it; a server in production need not have it.
            builder = builder.setting("performance-schema", "OFF");
        }
        let private = builder.start().await?;
        if kind == Kind::Postgres {
            authenticate_as_usual(&private).await?;
        }
        (Server::clone(&private), Some(private))
    };
    Ok(Measured {
        database: server.database("bench").await?,
        _server: private,
    })
}

/// Makes the server ask for its superuser's password with SCRAM, as servers do unless they are told otherwise:
/// <https://www.postgresql.org/docs/current/auth-password.html>.
async fn authenticate_as_usual(server: &Server) -> anyhow::Result<()> {
    let url = Url::parse(&server.url)?;
    let password = url.password().context("the superuser has a password")?;
    let mut connection = PgConnection::connect(&server.url).await?;
    let sql = format!(
        "SET password_encryption = 'scram-sha-256'; ALTER ROLE CURRENT_USER PASSWORD '{password}'"
    );
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    Ok(())
}
