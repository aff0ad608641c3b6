//! The events, on each framework.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::ensure;
use poolhouse_tests::eventually::LIMIT;
use poolhouse_tests::program::Signal;
use poolhouse_tests::{CaseDatabase, Kind, PrivateServer, eventually};

use crate::drive;
use crate::drive::client::Client;
use crate::drive::load::{CLIENTS, Load};
use crate::drive::service::{Exit, Limits, Service};
use crate::drive::witness::{database, table};

/// The behaviour of a framework.
#[derive(Clone, Copy, Debug)]
struct Framework {
    /// The program's name and its protocol.
    program: (&'static str, Client),
    /// The answer after a panic; `None` where the connection is closed without one.
    panicked: Option<u16>,
    /// Whether a closed connection ends its handler.
    drops_handlers: bool,
}

const AXUM: Framework = Framework {
    program: ("axum", Client::Http),
    panicked: None,
    drops_handlers: true,
};
const ACTIX: Framework = Framework {
    program: ("actix-web", Client::Http),
    ..AXUM
};
const ACTIX_WITH_SHUTDOWN: Framework = Framework {
    program: ("actix-web with Shutdown", Client::Http),
    ..AXUM
};
const ROCKET: Framework = Framework {
    program: ("rocket", Client::Http),
    panicked: Some(500),
    drops_handlers: false,
};
const ROCKET_WITH_SHUTDOWN: Framework = Framework {
    program: ("rocket with Shutdown", Client::Http),
    ..ROCKET
};
const TONIC: Framework = Framework {
    program: ("tonic", Client::Grpc),
    ..AXUM
};
const POEM: Framework = Framework {
    program: ("poem", Client::Http),
    drops_handlers: false,
    ..AXUM
};

/// Checks that the program ended by itself with this code.
fn ended_with(code: i32, exit: &Exit) -> anyhow::Result<()> {
    ensure!(exit.code == Some(code), "{:?}: {}", exit.code, exit.said);
    Ok(())
}

/// SIGTERM while 64 clients have slow requests open.
async fn sigterm_under_load(framework: Framework) -> anyhow::Result<()> {
    let Some(database) = database().await? else {
        return Ok(());
    };
    let seen = drive::sigterm_under_load::observe(framework.program, &database).await?;
    ended_with(0, &seen.exit)?;
    ensure!(seen.requests.nothing_is_lost(), "{seen:?}");
    database.closed_in_good_order().await
}

/// During `drain_delay` every connection is accepted and every request answered, while readiness is 503.
async fn drains(framework: Framework) -> anyhow::Result<()> {
    let Some(database) = database().await? else {
        return Ok(());
    };
    let limits = Limits {
        connections: Some(32),
        ..Limits::default()
    };
    let variables = [("POOLHOUSE_DRAIN_DELAY", "3s")];
    let mut service =
        Service::start(framework.program, &database.url(), limits, &variables).await?;
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
    // New connections are still accepted, from every client.
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
    let requests = load.end(&ended.output, &database).await?;
    ensure!(requests.nothing_is_lost(), "{requests:?}");
    database.closed_in_good_order().await
}

/// A second signal ends a request that would not end.
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
        let noticed = Some("a signal asks the program to end");
        let seen = drive::second_signal::observe(framework.program, &database, &variables, noticed)
            .await?;
        ended_with(143, &seen.exit)?;
        ensure!(
            seen.answer.status.is_none() && !seen.committed,
            "after {:?}: {seen:?}",
            seen.lasted
        );
        database.no_session_left().await?;
    }
    Ok(())
}

/// A handler that panics is rolled back, and the service continues.
async fn panic(framework: Framework) -> anyhow::Result<()> {
    let Some(database) = database().await? else {
        return Ok(());
    };
    let seen = drive::panic::observe(framework.program, &database).await?;
    ended_with(0, &seen.exit)?;
    ensure!(seen.answer.status == framework.panicked, "{seen:?}");
    ensure!(!seen.committed, "{seen:?}");
    ensure!(seen.next.status == Some(200), "{seen:?}");
    database.closed_in_good_order().await
}

/// A client that closes its connection inside its transaction.
async fn hangs_up(framework: Framework) -> anyhow::Result<()> {
    let Some(database) = database().await? else {
        return Ok(());
    };
    // A handler that is not dropped runs to its end and commits.
    let patience = if framework.drops_handlers {
        LIMIT
    } else {
        Duration::ZERO
    };
    let seen = drive::hangs_up::observe(framework.program, &database, patience).await?;
    ended_with(0, &seen.exit)?;
    ensure!(seen.dropped == framework.drops_handlers, "{seen:?}");
    ensure!(seen.committed != framework.drops_handlers, "{seen:?}");
    ensure!(seen.next.status == Some(200), "{seen:?}");
    database.closed_in_good_order().await
}

/// A pool without a free connection.
async fn exhausted(framework: Framework) -> anyhow::Result<()> {
    let Some(database) = database().await? else {
        return Ok(());
    };
    let seen = drive::exhausted::observe(framework.program, &database).await?;
    ended_with(0, &seen.exit)?;
    ensure!(seen.answer.status == Some(503), "{seen:?}");
    if let (_, Client::Http) = framework.program {
        ensure!(seen.answer.retry_after.as_deref() == Some("5"), "{seen:?}");
    }
    ensure!(!seen.answer.body.contains("max_size"), "{seen:?}");
    // No task waits at this moment, and the probe needs no connection.
    ensure!(seen.ready.status == Some(200), "{seen:?}");
    ensure!(seen.holder.status == Some(200), "{seen:?}");
    ensure!(seen.holder_committed && !seen.committed, "{seen:?}");
    ensure!(seen.next.status == Some(200), "{seen:?}");
    database.closed_in_good_order().await
}

/// A server that is killed and restarted.
async fn server_killed(framework: Framework) -> anyhow::Result<()> {
    let Some(builder) = PrivateServer::require(Kind::Postgres) else {
        return Ok(());
    };
    // A commit must survive a crash.
    let builder = builder.setting("synchronous_commit", "on");
    let mut server = builder.start().await?;
    let database = CaseDatabase::on(&server, "events").await?;
    table(&database).await?;
    let seen = drive::server_killed::observe(framework.program, &database, &mut server).await?;
    ended_with(0, &seen.exit)?;
    // The open transaction is lost, and the answer is an error.
    ensure!(seen.open.status == Some(500), "{seen:?}");
    ensure!(seen.meanwhile.status == Some(500), "{seen:?}");
    ensure!(
        seen.ready.status == Some(503) && seen.ready.body == "unreachable",
        "{seen:?}"
    );
    ensure!(seen.afterwards.status == Some(200), "{seen:?}");
    ensure!(seen.truthful, "{seen:?}");
    database.no_session_left().await
}

/// With signals on but without `Shutdown`, the body is dropped, and the log says what to change.
#[tokio::test]
async fn a_dropped_body_says_why() -> anyhow::Result<()> {
    let Some(database) = database().await? else {
        return Ok(());
    };
    let variables = [("POOLHOUSE_SIGNALS", "true")];
    let limits = Limits::default();
    let mut service = Service::start(ROCKET.program, &database.url(), limits, &variables).await?;
    let _sent = service.begin_to_wait(1).await?;
    let exit = service.end().await?;
    ended_with(143, &exit)?;
    for words in [
        "no parameter of the type Shutdown",
        "Take one",
        "signals = false",
    ] {
        ensure!(exit.said.contains(words), "{exit:?}");
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
