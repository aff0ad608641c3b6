//! The primary goes away under load, and its replica takes over.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use poolhouse::{PgEngine, Settings};
use poolhouse_tests::{Kind, PrivateServer, Stop, eventually};
use sqlx::Postgres;
use tokio::task::JoinSet;

use super::{number, started, url_of};

const MAX_SIZE: u32 = 6;
const TASKS: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost_when_the_primary_is_stopped() -> anyhow::Result<()> {
    fail_over(Stop::Orderly).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost_when_the_primary_crashes() -> anyhow::Result<()> {
    fail_over(Stop::Crash).await
}

async fn fail_over(stop: Stop) -> anyhow::Result<()> {
    let Some(builder) = PrivateServer::require(Kind::Postgres) else {
        return Ok(());
    };
    let mut primary = builder.setting("synchronous_commit", "on").start().await?;
    let replica = primary.replica().await?;
    let database = primary.database("failover").await?;
    // From now on the primary acknowledges what the replica has too:
    // https://www.postgresql.org/docs/current/warm-standby.html#SYNCHRONOUS-REPLICATION
    primary
        .ask(&[
            "ALTER SYSTEM SET synchronous_standby_names = '*'".into(),
            "SELECT pg_reload_conf()".into(),
        ])
        .await?;
    let synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
    eventually("the replica is synchronous", async || {
        ensure!(number(&primary, synchronous).await? == 1);
        Ok(())
    })
    .await?;

    let user = format!("{}:{}", database.name(), database.password());
    let rest = format!("{}?target_session_attrs=read-write", database.name());
    let hosts = [primary.address(), replica.address()];
    let settings = Settings::new()
        .engine("failover")
        .url(url_of("postgres", &user, &hosts, &rest))
        .max_size(MAX_SIZE);
    let engine = started::<Postgres>(&settings).await?;
    sqlx::raw_sql("CREATE TABLE entry (n bigint PRIMARY KEY)")
        .execute(&engine)
        .await?;

    let load = Load::begin(&engine);
    load.goes_on(100).await?;
    let stopped = Instant::now();
    primary.stop(stop).await?;
    replica.ask(&["SELECT pg_promote()".into()]).await?;
    load.goes_on(1).await?;
    let pause = stopped.elapsed();
    println!("{stop:?}: the first write after {pause:?}");

    // The old one comes back, and nobody goes there.
    primary.demote()?;
    primary.start().await?;
    load.goes_on(200).await?;
    let of_us = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = '{}'",
        database.name()
    );
    ensure!(number(&primary, &of_us).await? == 0);
    let sessions = number(&replica, &of_us).await?;
    ensure!((1..=i64::from(MAX_SIZE)).contains(&sessions), "{sessions}");

    let acknowledged = load.end().await?;
    let kept: Vec<i64> = sqlx::query_scalar("SELECT n FROM entry")
        .fetch_all(&engine)
        .await?;
    let kept: HashSet<i64> = kept.into_iter().collect();
    let lost: Vec<_> = acknowledged.difference(&kept).collect();
    ensure!(lost.is_empty(), "lost: {lost:?}");
    engine.close_connection_pool().await;
    Ok(())
}

/// Tasks that write one row after another, through every error.
struct Load {
    acknowledged: Arc<Mutex<HashSet<i64>>>,
    most: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Load {
    fn begin(engine: &PgEngine) -> Self {
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
                    let write = sqlx::query("INSERT INTO entry VALUES ($1)").bind(n);
                    if write.execute(&engine).await.is_ok() {
                        acknowledged
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .insert(n);
                    } else {
                        // As a service would, it does not hammer.
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    // Never the same row again: an unacknowledged one may be there.
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

    /// Waits for so many more writes.
    async fn goes_on(&self, more: usize) -> anyhow::Result<()> {
        let enough = self.written() + more;
        eventually("the writes go on", async || {
            let written = self.written();
            ensure!(written >= enough, "{written} of {enough}");
            Ok(())
        })
        .await
    }

    /// Ends the tasks, and tells what was acknowledged.
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
