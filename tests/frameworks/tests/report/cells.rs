//! The cells of the table: drives each event and describes its outcome.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use anyhow::Context;
use poolhouse_tests::{CaseDatabase, Kind, PrivateServer};

use crate::drive::client::Answer;
use crate::drive::service::Exit;
use crate::drive::witness::{self, table};
use crate::drive::{exhausted, hangs_up, panic, second_signal, server_killed, sigterm_under_load};
use crate::services::Compared;
use crate::sessions::Left;

type Cell = Pin<Box<dyn Future<Output = anyhow::Result<String>>>>;

/// The rows of the table.
pub(crate) const EVENTS: &[(&str, fn(&'static Compared) -> Cell)] = &[
    ("SIGTERM while 64 clients have slow requests open", |on| {
        Box::pin(sigterm_under_load(on))
    }),
    ("a second signal", |on| Box::pin(second_signal(on))),
    ("a handler panics", |on| Box::pin(panic(on))),
    ("the client hangs up in its transaction", |on| {
        Box::pin(hangs_up(on))
    }),
    ("the pool is exhausted", |on| Box::pin(exhausted(on))),
    ("the server is killed and comes back", |on| {
        Box::pin(server_killed(on))
    }),
];

/// The facts that cells do not repeat.
pub(crate) const UNLESS_SAID: &str = "Unless a cell says otherwise, the program ended with exit code 0, no session was left \
on the server a second later, each had ended with Terminate, the next request was answered with 200, and rows were \
committed exactly where 200 was answered.";

/// The time that a handler may run after its client has gone, before it counts as not dropped.
const DROPPED_WITHIN: Duration = Duration::from_secs(5);

async fn sigterm_under_load(on: &Compared) -> anyhow::Result<String> {
    let database = database().await?;
    let seen = sigterm_under_load::observe(on.program, &database).await?;
    let requests = &seen.requests;
    let fate = if requests.nothing_is_lost() {
        format!("all {} answered and committed", requests.begun)
    } else {
        format!(
            "of {} begun, {} not answered with 200; {} answers of 200, {} committed",
            requests.begun, requests.unanswered, requests.good, requests.committed
        )
    };
    end(fate, &seen.exit, &database).await
}

async fn second_signal(on: &Compared) -> anyhow::Result<String> {
    let database = database().await?;
    let variables = [
        ("POOLHOUSE_SHUTDOWN_TIMEOUT", "1h"),
        ("POOLHOUSE_CLOSE_TIMEOUT", "1h"),
    ];
    let seen = second_signal::observe(on.program, &database, &variables, on.noticed).await?;
    let mut fate = match (seen.exit.code, seen.lasted.as_secs()) {
        (None, seconds) => format!("still runs {seconds} s after the first"),
        (Some(_), 0) => "ends at once".to_owned(),
        (Some(_), seconds) => format!("ends {seconds} s after the first"),
    };
    fate += &format!("; {}, {}", answer(&seen.answer), rows(seen.committed));
    end(fate, &seen.exit, &database).await
}

async fn panic(on: &Compared) -> anyhow::Result<String> {
    let database = database().await?;
    let seen = panic::observe(on.program, &database).await?;
    let mut fate = format!("{}; {}", rows(seen.committed), answer(&seen.answer));
    if !good(&seen.next) {
        fate += &format!("; the next request: {}", answer(&seen.next));
    }
    end(fate, &seen.exit, &database).await
}

async fn hangs_up(on: &Compared) -> anyhow::Result<String> {
    let database = database().await?;
    let seen = hangs_up::observe(on.program, &database, DROPPED_WITHIN).await?;
    let handler = if seen.dropped {
        "dropped"
    } else {
        "runs to its end"
    };
    let mut fate = format!("{handler}, {}", rows(seen.committed));
    if !good(&seen.next) {
        fate += &format!("; the next request: {}", answer(&seen.next));
    }
    end(fate, &seen.exit, &database).await
}

async fn exhausted(on: &Compared) -> anyhow::Result<String> {
    let database = database().await?;
    let seen = exhausted::observe(on.program, &database).await?;
    let mut fate = format!(
        "{}, {}; readiness {}",
        answer(&seen.answer),
        rows(seen.committed),
        answer(&seen.ready)
    );
    if !(good(&seen.holder) && seen.holder_committed) {
        let holder = answer(&seen.holder);
        fate += &format!("; the holder: {holder}, {}", rows(seen.holder_committed));
    }
    if !good(&seen.next) {
        fate += &format!("; the next request: {}", answer(&seen.next));
    }
    end(fate, &seen.exit, &database).await
}

async fn server_killed(on: &Compared) -> anyhow::Result<String> {
    // A commit must survive a crash.
    let builder = PrivateServer::of(Kind::Postgres).setting("synchronous_commit", "on");
    let mut server = builder.start().await?;
    let database = CaseDatabase::on(&server, "events").await?;
    table(&database).await?;
    let seen = server_killed::observe(on.program, &database, &mut server).await?;
    let mut fate = format!(
        "the open request {}; meanwhile {}, readiness {}; then {}",
        answer(&seen.open),
        answer(&seen.meanwhile),
        answer(&seen.ready),
        answer(&seen.afterwards)
    );
    if !seen.truthful {
        fate += "; answers and rows differ";
    }
    end(fate, &seen.exit, &database).await
}

async fn database() -> anyhow::Result<CaseDatabase> {
    witness::database().await?.context("no Postgres")
}

/// The text of a cell: the outcome of the requests, and the differences from [`UNLESS_SAID`].
async fn end(mut fate: String, exit: &Exit, database: &CaseDatabase) -> anyhow::Result<String> {
    match exit.code {
        Some(0) => {}
        Some(code) => fate += &format!("; exit code {code}"),
        None => fate += "; killed",
    }
    let left = Left::of(database).await?;
    if left.sessions > 0 {
        fate += &format!("; sessions left: {}", left.sessions);
    }
    if left.uncleanly > 0 {
        fate += &format!("; sessions without Terminate: {}", left.uncleanly);
    }
    Ok(fate)
}

fn good(answer: &Answer) -> bool {
    answer.status == Some(200)
}

fn rows(committed: bool) -> &'static str {
    if committed {
        "committed"
    } else {
        "rolled back"
    }
}

fn answer(answer: &Answer) -> String {
    match (answer.status, &answer.retry_after) {
        (None, _) => "no answer".to_owned(),
        (Some(status), None) => status.to_string(),
        (Some(status), Some(after)) => format!("{status}, `Retry-After: {after}`"),
    }
}
