//! A database to measure on: of the server that the environment names, or of a private one.

use poolhouse_tests::{Kind, PrivateServer, Server, TestDatabase};

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
        (Server::clone(&private), Some(private))
    };
    Ok(Measured {
        database: server.database("bench").await?,
        _server: private,
    })
}
