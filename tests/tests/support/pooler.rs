//! A real pgbouncer in both modes.

use poolhouse_tests::{Kind, PgBouncer, pgbouncer::Mode, servers};
use sqlx::{Connection, PgConnection};

async fn server_process(connection: &mut PgConnection) -> anyhow::Result<String> {
    let row: sqlx::postgres::PgRow = sqlx::raw_sql("SELECT pg_backend_pid()::text")
        .fetch_one(connection)
        .await?;
    Ok(sqlx::Row::try_get_unchecked(&row, 0)?)
}

#[tokio::test]
async fn two_clients_share_one_server_session_in_transaction_mode() -> anyhow::Result<()> {
    let Some(server) = servers::require(Kind::Postgres) else {
        return Ok(());
    };
    let database = server.database("shared").await?;
    let pooler =
        PgBouncer::start(&database, Mode::Transaction, &[("default_pool_size", "1")]).await?;
    let mut one = PgConnection::connect(pooler.url()).await?;
    let mut two = PgConnection::connect(pooler.url()).await?;
    assert_eq!(
        server_process(&mut one).await?,
        server_process(&mut two).await?
    );
    assert_eq!(database.sessions().await?.len(), 1);
    one.close().await?;
    two.close().await?;

    // An orderly end of the pooler, requested at its console, is orderly for the server too.
    let pools = pooler.ask("SHOW POOLS").await?;
    assert!(
        pools
            .iter()
            .flatten()
            .flatten()
            .any(|value| value == database.name()),
        "{pools:?}"
    );
    drop(pooler);
    database.no_session_left().await
}

#[tokio::test]
async fn each_client_has_a_server_session_in_session_mode() -> anyhow::Result<()> {
    let Some(server) = servers::require(Kind::Postgres) else {
        return Ok(());
    };
    let database = server.database("apart").await?;
    let pooler = PgBouncer::start(&database, Mode::Session, &[]).await?;
    let mut one = PgConnection::connect(pooler.url()).await?;
    let mut two = PgConnection::connect(pooler.url()).await?;
    assert_ne!(
        server_process(&mut one).await?,
        server_process(&mut two).await?
    );
    assert_eq!(database.sessions().await?.len(), 2);
    one.close().await?;
    two.close().await?;
    Ok(())
}
