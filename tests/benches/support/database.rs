//! A database for a benchmark, on the server that the environment names or on a private one.

use anyhow::Context;
use poolhouse_tests::{Kind, PrivateServer, Server, TestDatabase};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use url::Url;

/// A database. Dropping the value removes the database, and the server if it is private.
pub(crate) struct Measured {
    pub(crate) database: TestDatabase,
    // After the database: fields are dropped in this order, and the database's removal needs the server.
    _server: Option<PrivateServer>,
}

/// Creates an empty database. `POOLHOUSE_TEST_POSTGRES_URL` and `POOLHOUSE_TEST_MYSQL_URL` name servers. Without them a private
/// one is started, which does not sync to disk, so that commits do not dominate the measurement.
pub(crate) async fn database(kind: Kind) -> anyhow::Result<Measured> {
    let (server, private) = if let Some(server) = Server::from_environment(kind) {
        (server, None)
    } else {
        // Every contender keeps its connections open all the time.
        let mut builder = PrivateServer::of(kind).setting("max_connections", 400);
        if kind == Kind::MariaDb {
            // The tests read it; a server in production may run without it.
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

/// Makes the server use SCRAM for its superuser, as servers do by default:
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
