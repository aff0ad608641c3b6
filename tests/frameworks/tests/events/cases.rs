//! The events, on each framework.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::Relaxed};

use anyhow::{Context, ensure};
use poolhouse_tests::program::Signal;
use poolhouse_tests::{CaseDatabase, Kind, PrivateServer, Stop, eventually};
use sqlx::Postgres;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::service::{Framework, Service, no_transaction, rows, table};

const AXUM: Framework = Framework {
    program: "axum",
    client: Client::Http,
    panicked: None,
    drops_handlers: true,
};
const ACTIX: Framework = Framework {
    program: "actix-web",
    ..AXUM
};
const ACTIX_WITH_SHUTDOWN: Framework = Framework {
    program: "actix-web with Shutdown",
    ..AXUM
};
const ROCKET: Framework = Framework {
    program: "rocket",
    client: Client::Http,
    panicked: Some(500),
    drops_handlers: false,
};
const ROCKET_WITH_SHUTDOWN: Framework = Framework {
    program: "rocket with Shutdown",
    ..ROCKET
};
const TONIC: Framework = Framework {
    program: "tonic",
    client: Client::Grpc,
    ..AXUM
};
const POEM: Framework = Framework {
    program: "poem",
    drops_handlers: false,
    ..AXUM
};

/// How many clients there are at a time.
const CLIENTS: usize = 64;

/// Clients that send one slow request after the other, until nobody takes their connection.
struct Load {
    clients: JoinSet<anyhow::Result<()>>,
    answers: Arc<std::sync::Mutex<BTreeMap<i32, Option<u16>>>>,
    /// How many answers there are.
    answered: Arc<AtomicUsize>,
}

impl Load {
    fn of(service: &Service) -> Self {
        let answers = Arc::<std::sync::Mutex<BTreeMap<i32, Option<u16>>>>::default();
        let answered = Arc::new(AtomicUsize::new(0));
        let next = Arc::new(AtomicI32::new(1));
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (answers, answered) = (Arc::clone(&answers), Arc::clone(&answered));
            let next = Arc::clone(&next);
            let (client, address) = (service.framework.client, service.address);
            clients.spawn(async move {
                loop {
                    let key = next.fetch_add(1, Relaxed);
                    let Ok(sent) = client.send(address, "slow", key).await else {
                        return Ok(());
                    };
                    let answer = sent.answer().await?;
                    answered.fetch_add(1, Relaxed);
                    let mut answers = answers.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
                    answers.insert(key, answer.status);
                }
            });
        }
        Self {
            clients,
            answers,
            answered,
        }
    }

    /// Waits until each client has been answered about twice.
    async fn is_on(&self) -> anyhow::Result<()> {
        eventually("the load is on", async || {
            let answered = self.answered.load(Relaxed);
            ensure!(answered >= 2 * CLIENTS, "{answered} answers");
            Ok(())
        })
        .await
    }

    /// Waits until nobody takes a connection of any client, and gives the answers by key.
    async fn end(mut self) -> anyhow::Result<BTreeMap<i32, Option<u16>>> {
        while let Some(client) = self.clients.join_next().await {
            client??;
        }
        let answers = self
            .answers
            .lock()
            .map_err(|_| anyhow::anyhow!("poisoned"))?;
        Ok(answers.clone())
    }
}

/// Every request that has come to a handler was answered with 200 and is committed, and no other one is.
async fn nothing_is_lost(
    database: &CaseDatabase,
    output: &str,
    answers: &BTreeMap<i32, Option<u16>>,
) -> anyhow::Result<()> {
    let begun: Vec<i32> = output
        .lines()
        .filter_map(|line| line.strip_prefix("begun ")?.strip_suffix('.')?.parse().ok())
        .collect();
    for key in &begun {
        let answer = answers.get(key).context("no client")?;
        ensure!(*answer == Some(200), "request {key} begun, then {answer:?}");
    }
    let good = answers.values().filter(|answer| **answer == Some(200));
    let good = i64::try_from(good.count())?;
    let rows = database
        .answer::<Postgres>("SELECT count(*) FROM entry")
        .await?;
    ensure!(
        rows == good && rows == i64::try_from(begun.len())?,
        "{rows} rows, {good} good answers, {} begun",
        begun.len()
    );
    Ok(())
}

async fn database() -> anyhow::Result<Option<CaseDatabase>> {
    let database = CaseDatabase::of::<Postgres>("events").await?;
    if let Some(database) = &database {
        table(database).await?;
    }
    Ok(database)
}

/// SIGTERM while 64 clients have slow requests open.
async fn sigterm_under_load(framework: Framework) -> anyhow::Result<()> {
    let Some(database) = database().await? else {
        return Ok(());
    };
    let variables = [("POOLHOUSE_MAX_SIZE", "32")];
    let service = Service::start(framework, &database.url(), &variables).await?;
    let load = Load::of(&service);
    load.is_on().await?;
    let ended = service.end().await?;
    nothing_is_lost(&database, &ended.output, &load.end().await?).await?;
    database.closed_in_good_order().await
}

/// During `drain_delay` every connection is taken and every request answered, while readiness says no.
async fn drains(framework: Framework) -> anyhow::Result<()> {
    let Some(database) = database().await? else {
        return Ok(());
    };
    let variables = [
        ("POOLHOUSE_MAX_SIZE", "32"),
        ("POOLHOUSE_DRAIN_DELAY", "3s"),
    ];
    let mut service = Service::start(framework, &database.url(), &variables).await?;
    let ready = service.ask("ready", 0).await?;
    ensure!(
        ready.status == Some(200) && ready.body == "ready",
        "{ready:?}"
    );
    let load = Load::of(&service);
    load.is_on().await?;
    service.running.signal(Signal::SIGTERM)?;
    service.running.line("the program drains for 3s").await?;
    let before = load.answered.load(Relaxed);
    let draining = service.ask("ready", 0).await?;
    ensure!(
        draining.status == Some(503) && draining.body == "draining",
        "{draining:?}"
    );
    // New connections are still taken, by every client.
    eventually("the service goes on", async || {
        let since = load.answered.load(Relaxed) - before;
        ensure!(since >= CLIENTS, "{since} answers since");
        Ok(())
    })
    .await?;
    ensure!(
        service.ask("ready", 0).await?.status == Some(503),
        "it is not draining any more"
    );
    let ended = service.running.end().await?;
    ensure!(ended.code() == Some(0), "{}", ended.everything());
    nothing_is_lost(&database, &ended.output, &load.end().await?).await?;
    database.closed_in_good_order().await
}

/// A second signal ends a request that does not end.
async fn second_signal(framework: Framework) -> anyhow::Result<()> {
    for delay in ["0s", "1h"] {
        let Some(database) = database().await? else {
            return Ok(());
        };
        let variables = [
            ("POOLHOUSE_SHUTDOWN_TIMEOUT", "1h"),
            ("POOLHOUSE_CLOSE_TIMEOUT", "1h"),
            ("POOLHOUSE_DRAIN_DELAY", delay),
        ];
        let mut service = Service::start(framework, &database.url(), &variables).await?;
        let sent = service.begin("wait", 1).await?;
        service.running.signal(Signal::SIGTERM)?;
        service
            .running
            .line("a signal asks the program to end")
            .await?;
        service.running.signal(Signal::SIGTERM)?;
        let ended = service.running.end().await?;
        ensure!(ended.code() == Some(143), "{}", ended.everything());
        let answer = sent.answer().await?;
        ensure!(answer.status.is_none(), "{answer:?}");
        ensure!(rows(&database, 1).await? == 0);
        database.no_session_left().await?;
    }
    Ok(())
}

/// A handler that panics: rolled back, and the service goes on.
async fn panic(framework: Framework) -> anyhow::Result<()> {
    let Some(database) = database().await? else {
        return Ok(());
    };
    let service = Service::start(framework, &database.url(), &[]).await?;
    let answer = service.ask("panic", 1).await?;
    ensure!(answer.status == framework.panicked, "{answer:?}");
    no_transaction(&database).await?;
    ensure!(service.ask("write", 2).await?.status == Some(200));
    service.end().await?;
    ensure!(rows(&database, 1).await? == 0 && rows(&database, 2).await? == 1);
    database.closed_in_good_order().await
}

/// A client that hangs up in the middle of its transaction.
async fn hangs_up(framework: Framework) -> anyhow::Result<()> {
    let Some(database) = database().await? else {
        return Ok(());
    };
    let mut service = Service::start(framework, &database.url(), &[]).await?;
    let sent = service.begin("wait", 1).await?;
    drop(sent);
    if !framework.drops_handlers {
        // It runs to its end, and is committed.
        ensure!(service.ask("release", 0).await?.status == Some(200));
    }
    no_transaction(&database).await?;
    let written = rows(&database, 1).await?;
    ensure!(
        written == i64::from(!framework.drops_handlers),
        "{written} rows"
    );
    ensure!(service.ask("write", 2).await?.status == Some(200));
    service.end().await?;
    database.closed_in_good_order().await
}

/// A pool that has nothing to give.
async fn exhausted(framework: Framework) -> anyhow::Result<()> {
    let Some(database) = database().await? else {
        return Ok(());
    };
    let variables = [
        ("POOLHOUSE_MAX_SIZE", "1"),
        ("POOLHOUSE_ACQUIRE_TIMEOUT", "100ms"),
    ];
    let mut service = Service::start(framework, &database.url(), &variables).await?;
    let sent = service.begin("wait", 1).await?;
    let answer = service.ask("write", 2).await?;
    ensure!(answer.status == Some(503), "{answer:?}");
    if let Client::Http = framework.client {
        ensure!(answer.retry_after.as_deref() == Some("5"), "{answer:?}");
    }
    ensure!(!answer.body.contains("max_size"), "{answer:?}");
    // Nobody waits at this moment, and a probe needs no connection.
    let ready = service.ask("ready", 0).await?;
    ensure!(ready.status == Some(200), "{ready:?}");
    ensure!(service.ask("release", 0).await?.status == Some(200));
    ensure!(sent.answer().await?.status == Some(200));
    ensure!(service.ask("write", 3).await?.status == Some(200));
    service.end().await?;
    ensure!(rows(&database, 1).await? == 1 && rows(&database, 2).await? == 0);
    database.closed_in_good_order().await
}

/// A server that is killed and comes back.
async fn server_killed(framework: Framework) -> anyhow::Result<()> {
    let Some(builder) = PrivateServer::require(Kind::Postgres) else {
        return Ok(());
    };
    // What is committed outlives a crash.
    let builder = builder.setting("synchronous_commit", "on");
    let mut server = builder.start().await?;
    let database = CaseDatabase::on(&server, "events").await?;
    table(&database).await?;
    let variables = [("POOLHOUSE_ACQUIRE_TIMEOUT", "2s")];
    let mut service = Service::start(framework, &database.url(), &variables).await?;
    let sent = service.begin("wait", 1).await?;
    ensure!(service.ask("write", 2).await?.status == Some(200));

    server.stop(Stop::Crash).await?;
    ensure!(service.ask("release", 0).await?.status == Some(200));
    // What was open is lost, and is said to be.
    let answer = sent.answer().await?;
    ensure!(answer.status == Some(500), "{answer:?}");
    let answer = service.ask("write", 3).await?;
    ensure!(answer.status == Some(500), "{answer:?}");
    let ready = service.ask("ready", 0).await?;
    ensure!(
        ready.status == Some(503) && ready.body == "unreachable",
        "{ready:?}"
    );

    server.start().await?;
    eventually("it is ready again", async || {
        let ready = service.ask("ready", 0).await?;
        ensure!(ready.status == Some(200), "{ready:?}");
        Ok(())
    })
    .await?;
    let answer = service.ask("write", 4).await?;
    ensure!(
        answer.status == Some(200),
        "{answer:?}\n{}",
        service.running.said()
    );
    service.end().await?;
    for (key, expected) in [(1, 0), (2, 1), (3, 0), (4, 1)] {
        let rows = rows(&database, key).await?;
        ensure!(rows == expected, "{rows} rows of {key}");
    }
    database.no_session_left().await
}

/// Without `Shutdown`, and with signals all the same: it is dropped, and says what to do.
#[tokio::test]
async fn a_dropped_body_says_why() -> anyhow::Result<()> {
    let Some(database) = database().await? else {
        return Ok(());
    };
    let variables = [("POOLHOUSE_SIGNALS", "true")];
    let mut service = Service::start(ROCKET, &database.url(), &variables).await?;
    let _sent = service.begin("wait", 1).await?;
    service.running.signal(Signal::SIGTERM)?;
    let ended = service.running.end().await?;
    ensure!(ended.code() == Some(143), "{}", ended.everything());
    for words in [
        "no parameter of the type Shutdown",
        "Take one",
        "signals = false",
    ] {
        ensure!(ended.error.contains(words), "{}", ended.error);
    }
    database.no_session_left().await
}

/// Each event on each framework.
macro_rules! events {
    ($($event:ident: $($name:ident $framework:ident),+;)+) => {$(
        mod $event {
            $(
                #[tokio::test]
                async fn $name() -> anyhow::Result<()> {
                    super::$event(super::$framework).await
                }
            )+
        }
    )+};
}

events! {
    sigterm_under_load: axum AXUM, actix_web ACTIX, actix_web_with_shutdown ACTIX_WITH_SHUTDOWN, rocket ROCKET,
        rocket_with_shutdown ROCKET_WITH_SHUTDOWN, tonic TONIC, poem POEM;
    drains: axum AXUM, actix_web ACTIX_WITH_SHUTDOWN, rocket ROCKET_WITH_SHUTDOWN, tonic TONIC, poem POEM;
    second_signal: axum AXUM, actix_web ACTIX_WITH_SHUTDOWN, rocket ROCKET_WITH_SHUTDOWN, tonic TONIC, poem POEM;
    panic: axum AXUM, actix_web ACTIX, rocket ROCKET, tonic TONIC, poem POEM;
    hangs_up: axum AXUM, actix_web ACTIX, rocket ROCKET, tonic TONIC, poem POEM;
    exhausted: axum AXUM, actix_web ACTIX, rocket ROCKET, tonic TONIC, poem POEM;
    server_killed: axum AXUM, actix_web ACTIX, rocket ROCKET, tonic TONIC, poem POEM;
}
