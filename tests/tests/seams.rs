//! The code around the pool: finding engines, starting them with their nodes, closing them together, health checks (faults 33
//! to 41 and 46 to 49).

mod closes;
mod finder;
mod full;
mod health;
mod health_in_time;
mod limits;
mod listener;
mod on_sqlx;
mod pool;
mod returned;
mod runtimes;
mod secrets;
mod starts;
mod urls;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use futures_util::future::join_all;
use poolhouse::{Engine, Settings, engine_finder_with};
use poolhouse_tests::{CaseDatabase, Proxy, Sql};
use tokio::task::JoinHandle;

/// The limit of a step that must not hang. It passes in full only when the step hangs.
const LIMIT: Duration = Duration::from_secs(20);

/// Awaits a future that must not hang, for at most `LIMIT`.
async fn bounded<T>(what: &str, future: impl Future<Output = T>) -> anyhow::Result<T> {
    let result = tokio::time::timeout(LIMIT, future).await;
    result.with_context(|| format!("not over after {LIMIT:?}: {what}"))
}

/// Settings of an engine that no environment variable configures.
fn settings(name: &str, url: impl Into<String>) -> Settings {
    Settings::new().engine(name).url(url)
}

/// Starts an engine with these settings.
async fn started<DB: Sql>(settings: &Settings) -> anyhow::Result<Engine<DB>> {
    let engine = engine_finder_with(settings)?;
    engine.start_connection_pool().await?;
    Ok(engine)
}

/// A proxy in front of the server of a case's database, and the URL through it.
fn through_proxy(case_database: &CaseDatabase) -> anyhow::Result<(Proxy, String)> {
    let database = case_database.database()?;
    let proxy = Proxy::before(database.address()?)?;
    let url = database.url_through(proxy.address());
    Ok((proxy, url))
}

/// Tasks that wait for a checkout of an engine whose connections are all in use.
struct Waiters(Vec<JoinHandle<sqlx::Result<()>>>);

impl Waiters {
    async fn of<DB: Sql>(engine: &Engine<DB>, number: usize) -> anyhow::Result<Self> {
        let engine = Arc::new(engine.clone());
        let waiters = (0..number).map(|_| {
            let engine = Arc::clone(&engine);
            tokio::spawn(async move { engine.acquire().await.map(drop) })
        });
        let waiters = Self(waiters.collect());
        poolhouse_tests::eventually("all of them wait", async || {
            let waiting = engine.status().waiting;
            ensure!(waiting == number, "{waiting} wait");
            Ok(())
        })
        .await?;
        Ok(waiters)
    }

    /// Fails unless every waiter got the error of a closed pool.
    async fn are_refused(self) -> anyhow::Result<()> {
        for answer in bounded("telling the waiters", join_all(self.0)).await? {
            let said = answer?.err().context("one got a checkout")?.to_string();
            ensure!(said.contains("closed"), "{said}");
        }
        Ok(())
    }
}
