//! Log lines while a server is unreachable or full.

use anyhow::ensure;
use poolhouse::Engine;
use poolhouse_tests::{
    CaseDatabase, Heard, Proxy, Sql, Subject, faults::start::allow, subject::Own,
};
use sqlx::Connection;

use super::{settings, started};

#[tokio::test]
async fn one_warning_for_each_cause_and_one_when_it_is_over_on_postgres() -> anyhow::Result<()> {
    one_warning_for_each_cause::<sqlx::Postgres>().await
}

#[tokio::test]
async fn one_warning_for_each_cause_and_one_when_it_is_over_on_mariadb() -> anyhow::Result<()> {
    one_warning_for_each_cause::<sqlx::MySql>().await
}

async fn one_warning_for_each_cause<DB: Sql>() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<DB>("outage").await? else {
        return Ok(());
    };
    let heard = Heard::here();
    let database = case_database.database()?;
    let proxy = Proxy::before(database.address()?)?;
    let settings = settings(&case_database)
        .url(database.url_through(proxy.address()))
        .max_size(3)
        .acquire_timeout("300ms");
    let engine: Engine<DB> = started(&settings).await?;
    let db = Own(engine.clone());
    let warnings = || heard.lines("no connection can be opened");
    ensure!(warnings().is_empty());

    proxy.refuse();
    proxy.reset();
    proxy.open_become(0).await?;
    for _ in 0..5 {
        ensure!(db.execute("SELECT 1").await.is_err(), "nobody is there");
    }
    let first = warnings();
    ensure!(
        first.len() == 1
            && first[0].contains("WARN")
            && first[0].contains("the server refused the connection"),
        "{first:#?}"
    );

    allow(database, 1).await?;
    let only = DB::Connection::connect(database.url()).await?;
    proxy.pass();
    for _ in 0..3 {
        ensure!(db.execute("SELECT 1").await.is_err(), "there is room");
    }
    let second = warnings();
    ensure!(
        second.len() == 2
            && second[1].contains("the cause is another one")
            && second[1].contains("too many"),
        "{second:#?}"
    );
    ensure!(heard.lines("can be opened again").is_empty());

    only.close().await?;
    allow(database, 10).await?;
    // The server may still count the session that has just closed, and refuse the first ones.
    while db.execute("SELECT 1").await.is_err() {}
    let over = heard.lines("connections can be opened again, after ");
    ensure!(over.len() == 1 && over[0].contains("WARN"), "{over:?}");
    ensure!(warnings().len() == 2, "{:#?}", warnings());
    ensure!(!heard.everything().contains(database.password()));
    engine.close_connection_pool().await;
    Ok(())
}
