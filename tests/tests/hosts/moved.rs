//! The primary moves while both servers stay up: the old one becomes read-only, and its connections close.

use anyhow::ensure;
use futures_util::future::try_join_all;
use poolhouse::Settings;
use poolhouse_tests::{Kind, PrivateServer, Sql, Subject, eventually, subject::Own};

use super::{number, started, url_of};

/// Statements that make a server read-only, or writable again.
type Switch = fn(bool) -> Vec<String>;

#[tokio::test]
async fn on_postgres() -> anyhow::Result<()> {
    let switch: Switch = |reads| {
        let value = if reads { "on" } else { "off" };
        vec![
            format!("ALTER SYSTEM SET default_transaction_read_only = {value}"),
            "SELECT pg_reload_conf()".into(),
        ]
    };
    let user = [
        "CREATE ROLE band LOGIN PASSWORD 'band'",
        "CREATE DATABASE band OWNER band",
    ];
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'band'";
    primary_moves::<sqlx::Postgres>(Kind::Postgres, "postgres", &user, switch, sessions).await
}

#[tokio::test]
async fn on_mariadb() -> anyhow::Result<()> {
    let switch: Switch = |reads| vec![format!("SET GLOBAL read_only = {}", u8::from(reads))];
    let user = [
        "CREATE DATABASE band",
        "CREATE USER band@'%' IDENTIFIED BY 'band'",
        "GRANT ALL ON band.* TO band@'%'",
    ];
    let sessions = "SELECT count(*) FROM information_schema.processlist WHERE user = 'band'";
    primary_moves::<sqlx::MySql>(Kind::MariaDb, "mysql", &user, switch, sessions).await
}

async fn primary_moves<DB: Sql>(
    kind: Kind,
    scheme: &str,
    user: &[&str],
    switch: Switch,
    sessions: &str,
) -> anyhow::Result<()> {
    let mut servers = Vec::new();
    for _ in 0..2 {
        let Some(builder) = PrivateServer::require(kind) else {
            return Ok(());
        };
        servers.push(builder.start());
    }
    let servers = try_join_all(servers).await?;
    let [old, new] = &servers[..] else {
        anyhow::bail!("two were started");
    };
    for server in &servers {
        let statements: Vec<String> = user.iter().map(|&sql| sql.to_owned()).collect();
        server.ask(&statements).await?;
    }
    let hosts = [old.address(), new.address()];
    let settings = Settings::new()
        .engine("moved")
        .url(url_of(scheme, "band:band", &hosts, "band?target_session_attrs=read-write"))
        // The validation of an idle connection would detect the move; here a statement does.
        .validate_after("1h")
        .max_size(3)
        .min_size(3);
    // A table on each server: first the old one is writable, then the new one.
    new.ask(&switch(true)).await?;
    let engine = started::<DB>(&settings).await?;
    let db = Own(engine.clone());
    db.execute("CREATE TABLE entry (n int)").await?;
    ensure!(number(old, sessions).await? == 3);
    let held = engine.acquire().await?;
    old.ask(&switch(true)).await?;
    new.ask(&switch(false)).await?;
    eventually("a write reaches the new primary", async || {
        db.execute("CREATE TABLE entry (n int)").await?;
        Ok(())
    })
    .await?;
    db.execute("INSERT INTO entry VALUES (1)").await?;
    // Connections that were idle or held meanwhile are validated before their next use.
    drop(held);
    let held = try_join_all((0..3).map(|_| engine.acquire())).await?;
    ensure!(number(new, sessions).await? == 3);
    drop(held);
    eventually("no connection is left on the old one", async || {
        let left = number(old, sessions).await?;
        ensure!(left == 0, "{left}");
        Ok(())
    })
    .await?;
    engine.close_connection_pool().await;
    Ok(())
}
