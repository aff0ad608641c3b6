//! The primary stops under load, and its replica takes over.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use poolhouse::Settings;
use poolhouse_tests::{Kind, Server, Sql, Stop, Subject, eventually, subject::Own};
use sqlx::{MySql, Postgres};
use tokio::task::JoinSet;

use super::{follows, number, primary, scheme_of, started, url_of, user_of};

const MAX_SIZE: u32 = 6;
const TASKS: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost_when_the_primary_is_stopped() -> anyhow::Result<()> {
    fail_over::<Postgres>(Stop::Orderly).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost_when_the_primary_crashes() -> anyhow::Result<()> {
    fail_over::<Postgres>(Stop::Crash).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost_when_the_primary_crashes_on_mariadb() -> anyhow::Result<()> {
    fail_over::<MySql>(Stop::Crash).await
}

/// How to make the replication synchronous: the primary then acknowledges only writes that the replica has too.
///
/// Returns the settings of both, the statements on the primary that turn it on, and a query for 1 when it is on.
fn synchronous(
    kind: Kind,
) -> (
    &'static [[&'static str; 2]],
    [&'static str; 2],
    &'static str,
) {
    match kind {
        // https://www.postgresql.org/docs/current/warm-standby.html#SYNCHRONOUS-REPLICATION
        Kind::Postgres => (
            &[["synchronous_commit", "on"]],
            [
                "ALTER SYSTEM SET synchronous_standby_names = '*'",
                "SELECT pg_reload_conf()",
            ],
            "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'",
        ),
        // https://mariadb.com/kb/en/semisynchronous-replication/
        Kind::MariaDb => (
            &[
                ["rpl-semi-sync-slave-enabled", "ON"],
                ["rpl-semi-sync-master-wait-point", "AFTER_SYNC"],
                ["rpl-semi-sync-master-timeout", "3600000"],
            ],
            ["SET GLOBAL rpl_semi_sync_master_enabled = ON", "DO 1"],
            "SELECT count(*) FROM information_schema.global_status WHERE \
             (variable_name, variable_value) IN (('Rpl_semi_sync_master_clients', '1'), ('Rpl_semi_sync_master_status', 'ON')) \
             HAVING count(*) = 2",
        ),
    }
}

async fn fail_over<DB: Sql>(stop: Stop) -> anyhow::Result<()> {
    let Some(mut builder) = primary::<DB>()? else {
        return Ok(());
    };
    let kind = DB::SERVER.context("it has servers")?;
    let (settings, statements, is_on) = synchronous(kind);
    for [name, value] in settings {
        builder = builder.setting(name, value);
    }
    let mut primary = builder.start().await?;
    let replica = primary.replica().await?;
    let database = primary.database("failover").await?;
    follows::<DB>(&replica, &database).await?;
    primary.ask(&statements.map(String::from)).await?;
    eventually("the replica is synchronous", async || {
        ensure!(number(&primary, is_on).await? >= 1);
        Ok(())
    })
    .await?;

    let rest = format!("{}?target_session_attrs=read-write", database.name());
    let hosts = [primary.address(), replica.address()];
    let settings = Settings::new()
        .engine("failover")
        .url(url_of(
            scheme_of::<DB>(),
            &user_of(&database),
            &hosts,
            &rest,
        ))
        .max_size(MAX_SIZE);
    let engine = Own(started::<DB>(&settings).await?);
    engine
        .execute("CREATE TABLE entry (n bigint PRIMARY KEY)")
        .await?;

    let load = Load::begin(&engine);
    load.goes_on(100).await?;
    let stopped = Instant::now();
    primary.stop(stop).await?;
    replica.promote().await?;
    load.goes_on(1).await?;
    let pause = stopped.elapsed();
    println!("{kind}, {stop:?}: the first write after {pause:?}");

    // The old primary comes back, and no connection goes there.
    primary.demote()?;
    primary.start().await?;
    load.goes_on(200).await?;
    ensure!(database.sessions_on(&primary).await?.is_empty());
    let sessions = database.sessions_on(&replica).await?.len();
    ensure!((1..=MAX_SIZE as usize).contains(&sessions), "{sessions}");

    let acknowledged = load.end().await?;
    let mut lost = acknowledged;
    let new_primary = Server {
        kind,
        url: database.url_through(replica.address()),
        log: None,
    };
    for row in new_primary.ask(&["SELECT n FROM entry".into()]).await? {
        let n = row
            .into_iter()
            .flatten()
            .next()
            .context("a row without n")?;
        lost.remove(&n.parse()?);
    }
    ensure!(lost.is_empty(), "lost: {lost:?}");
    engine.close_connection_pool().await;
    Ok(())
}

/// Tasks that write one row after another, despite errors.
struct Load {
    acknowledged: Arc<Mutex<HashSet<i64>>>,
    most: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Load {
    fn begin<DB: Sql>(engine: &Own<DB>) -> Self {
        let mut load = Self {
            acknowledged: Arc::default(),
            most: Arc::default(),
            over: Arc::default(),
            tasks: JoinSet::new(),
        };
        for task in 0..TASKS {
            let (acknowledged, most) = (Arc::clone(&load.acknowledged), Arc::clone(&load.most));
            let (engine, over) = (engine.clone(), Arc::clone(&load.over));
            load.tasks.spawn(async move {
                let mut n = i64::try_from(task).unwrap_or_default();
                while !over.load(Relaxed) {
                    let write = format!("INSERT INTO entry VALUES ({n})");
                    if engine.execute(&write).await.is_ok() {
                        acknowledged
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .insert(n);
                    } else {
                        // Like a service, the task pauses after an error.
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    // The same row is never tried again: an unacknowledged one may exist.
                    n += 10;
                    most.fetch_max(engine.status().size, Relaxed);
                }
            });
        }
        load
    }

    fn written(&self) -> usize {
        self.acknowledged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Waits for this many more writes.
    async fn goes_on(&self, more: usize) -> anyhow::Result<()> {
        let enough = self.written() + more;
        eventually("the writes go on", async || {
            let written = self.written();
            ensure!(written >= enough, "{written} of {enough}");
            Ok(())
        })
        .await
    }

    /// Ends the tasks, and returns the acknowledged rows.
    async fn end(mut self) -> anyhow::Result<HashSet<i64>> {
        self.over.store(true, Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a task of the load")?;
        }
        let most = self.most.load(Relaxed);
        ensure!(most <= MAX_SIZE as usize, "{most} connections");
        Ok(std::mem::take(
            &mut *self
                .acknowledged
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        ))
    }
}
