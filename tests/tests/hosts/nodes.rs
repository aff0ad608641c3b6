//! Nodes: started and closed with their engine, and skipped while they are unreachable.

use anyhow::{Context, ensure};
use poolhouse::{Engine, Settings};
use poolhouse_tests::{PrivateServer, Sql, Stop, TestDatabase, eventually};
use sqlx::{MySql, Postgres};

use super::{follows, nobody_left, port, primary, started};

/// Settings of an engine on the primary, with the replica as a node.
fn settings(database: &TestDatabase, replica: &PrivateServer) -> Settings {
    let node = Settings::new()
        .url(database.url_through(replica.address()))
        .start_timeout("3s")
        // An acquire at the moment of the replica's stop must fail within the test's own limit.
        .acquire_timeout("2s")
        .max_size(2)
        .min_size(2);
    Settings::new()
        .engine("with_nodes")
        .url(database.url())
        .node("replica1", node)
}

#[tokio::test]
async fn a_reader_is_the_replica_while_it_is_there_on_postgres() -> anyhow::Result<()> {
    a_reader_is_the_replica_while_it_is_there::<Postgres>().await
}

#[tokio::test]
async fn a_reader_is_the_replica_while_it_is_there_on_mariadb() -> anyhow::Result<()> {
    a_reader_is_the_replica_while_it_is_there::<MySql>().await
}

async fn a_reader_is_the_replica_while_it_is_there<DB: Sql>() -> anyhow::Result<()> {
    let Some(builder) = primary::<DB>()? else {
        return Ok(());
    };
    let primary = builder.start().await?;
    let database = primary.database("nodes").await?;
    let mut replica = primary.replica().await?;
    follows::<DB>(&replica, &database).await?;
    let at_primary = primary.address().port();
    let at_replica = replica.address().port();

    let db: Engine<DB> = started(&settings(&database, &replica)).await?;
    let node = db.node("replica1")?;
    ensure!(node.name() == "with_nodes/replica1");
    ensure!(node.status().size == 2 && database.sessions_on(&replica).await?.len() == 2);
    ensure!(port(&db).await? == at_primary && port(&node).await? == at_replica);
    ensure!(port(&db.reader()).await? == at_replica);

    let said = db
        .node("replica2")
        .err()
        .context("it is there")?
        .to_string();
    ensure!(
        said == "engine `with_nodes` has no node `replica2`; known: replica1. Did you mean `replica1`? Write \
                 [engines.with_nodes.nodes.replica2] into poolhouse.toml to add it",
        "{said}"
    );

    replica.stop(Stop::Orderly).await?;
    // The first query on the closed connection detects the stop; later readers are the primary.
    eventually("readers go to the primary", async || {
        ensure!(port(&db.reader()).await? == at_primary);
        Ok(())
    })
    .await?;
    replica.start().await?;
    eventually("readers are back at the replica", async || {
        ensure!(port(&db.reader()).await? == at_replica);
        Ok(())
    })
    .await?;

    db.close_connection_pool().await;
    ensure!(db.node("replica1")?.status().size == 0);
    nobody_left(&database, &replica).await?;
    database.no_session_left().await?;

    // The replica need not be reachable at the start.
    replica.stop(Stop::Orderly).await?;
    let db: Engine<DB> = started(&settings(&database, &replica).engine("early")).await?;
    ensure!(port(&db.reader()).await? == at_primary);
    replica.start().await?;
    eventually("the replica is found", async || {
        ensure!(port(&db.reader()).await? == at_replica);
        Ok(())
    })
    .await?;
    db.close_connection_pool().await;
    Ok(())
}

#[tokio::test]
async fn without_nodes_a_reader_is_the_engine_itself() -> anyhow::Result<()> {
    let settings = Settings::new().engine("alone").url("sqlite::memory:");
    let db = started::<sqlx::Sqlite>(&settings).await?;
    sqlx::query("CREATE TABLE band (id int)")
        .execute(&db)
        .await?;
    let n: i64 = sqlx::query_scalar("SELECT count(*) FROM band")
        .fetch_one(&db.reader())
        .await?;
    ensure!(n == 0);
    let said = db.node("x").err().context("it is there")?.to_string();
    ensure!(said.contains("known: none."), "{said}");
    db.close_connection_pool().await;
    Ok(())
}

#[test]
fn a_node_needs_a_url_of_its_own() -> anyhow::Result<()> {
    let settings = Settings::new()
        .engine("with_nodes")
        .url("postgres://u@h/db")
        .node("replica1", Settings::new().max_size(2));
    let found = poolhouse::engine_finder_with::<Postgres>(&settings);
    let said = found.err().context("it is accepted")?.to_string();
    ensure!(
        said == "engine `with_nodes`: its node `replica1` has no URL. Write `url` into its section of poolhouse.toml, give \
                 it in code, or set the variable POOLHOUSE_WITH_NODES_NODES_REPLICA1_URL",
        "{said}"
    );
    Ok(())
}
