//! The effects of signals on a program, and its exit codes.

#![allow(
    clippy::extra_unused_type_parameters,
    reason = "the table names each case's database, whether the case asks for it or not"
)]

use std::time::Duration;

use anyhow::ensure;
use poolhouse_tests::{
    CaseDatabase, Program, Proxy, Sql,
    program::{Running, Signal},
};

use crate::{
    table::{case_databases, variants},
    variant::{Variant, code},
};

variants! {
    a_signal_sets_the_token_and_the_body_decides_the_exit_code: shutdown, on (postgres, mariadb, sqlite);
    a_body_that_does_not_return_is_dropped_at_shutdown_timeout: shutdown_timeout, on (postgres, mariadb);
    without_a_token_the_body_is_dropped_at_once: no_shutdown, on (postgres, mariadb, sqlite);
    checked_out_work_drains_after_a_signal: drains, on (postgres, mariadb, sqlite);
    work_that_does_not_drain_is_ended_at_close_timeout: does_not_drain, on (postgres, mariadb);
    a_second_signal_ends_the_close: second_signal_during_close, on (postgres, mariadb);
    a_blocking_task_does_not_keep_the_program: blocking_task, on (postgres, mariadb, sqlite);
    a_body_that_panics_in_its_drop_is_closed: panics_in_drop, on (postgres, mariadb, sqlite);
    three_signals_end_a_body_that_blocks: blocks, on (postgres, sqlite);
}

case_databases! {
    a_failed_start_of_main_closes_what_it_was_opening: start_fails, on (postgres, mariadb);
    main_ends_beside_a_runtime_that_does_not_run: another_runtime, on (postgres, mariadb);
}

/// Starts a body with or without a `Shutdown`, waits until it is ready, and sends it a signal.
async fn signalled(
    variant: Variant,
    case_database: &CaseDatabase,
    body: &str,
    signal: Signal,
    variables: &[(&str, &str)],
) -> anyhow::Result<Running> {
    let mut program = variant.program(body, case_database)?;
    for (name, value) in variables {
        program = program.variable(name, *value);
    }
    let mut program = program.start()?;
    program.line("ready").await?;
    program.signal(signal)?;
    Ok(program)
}

const BOTH: [(Signal, i32); 2] = [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)];

const SHUTDOWN: (&str, &str) = ("SHUTDOWN", "1");

async fn shutdown<DB: Sql>(variant: Variant, case_database: CaseDatabase) -> anyhow::Result<()> {
    for (signal, _) in BOTH {
        let ended = signalled(variant, &case_database, "waits", signal, &[SHUTDOWN]).await?;
        let ended = ended.end().await?;
        code(&ended, 0)?;
        ensure!(
            ended.output.contains("the body is over"),
            "{}",
            ended.output
        );
        let ended = signalled(
            variant,
            &case_database,
            "waits_and_fails",
            signal,
            &[SHUTDOWN],
        )
        .await?;
        code(&ended.end().await?, 1)?;
    }
    case_database.closed_in_good_order().await
}

async fn shutdown_timeout<DB: Sql>(
    variant: Variant,
    case_database: CaseDatabase,
) -> anyhow::Result<()> {
    let variables = [SHUTDOWN, ("POOLHOUSE_SHUTDOWN_TIMEOUT", "200ms")];
    for (signal, expected) in BOTH {
        let ended = signalled(variant, &case_database, "never_returns", signal, &variables).await?;
        let ended = ended.end().await?;
        code(&ended, expected)?;
        ensure!(
            ended
                .error
                .contains("did not return within 200ms of the signal (shutdown_timeout)"),
            "{}",
            ended.error
        );
    }
    case_database.closed_in_good_order().await
}

async fn no_shutdown<DB: Sql>(variant: Variant, case_database: CaseDatabase) -> anyhow::Result<()> {
    for (signal, expected) in BOTH {
        let ended = signalled(variant, &case_database, "waits", signal, &[]).await?;
        let ended = ended.end().await?;
        code(&ended, expected)?;
        ensure!(
            !ended.output.contains("the body is over"),
            "{}",
            ended.output
        );
    }
    case_database.closed_in_good_order().await
}

async fn drains<DB: Sql>(variant: Variant, case_database: CaseDatabase) -> anyhow::Result<()> {
    case_database
        .run::<DB>("CREATE TABLE entry (id INTEGER)")
        .await?;
    let ended = signalled(variant, &case_database, "works_on", Signal::SIGTERM, &[]).await?;
    let ended = ended.end().await?;
    code(&ended, 143)?;
    ensure!(ended.output.contains("committed: true"), "{}", ended.output);
    case_database.closed_in_good_order().await?;
    let entries = case_database
        .answer::<DB>("SELECT count(*) FROM entry")
        .await?;
    ensure!(entries == 1, "{entries} entries");
    Ok(())
}

async fn does_not_drain<DB: Sql>(
    variant: Variant,
    case_database: CaseDatabase,
) -> anyhow::Result<()> {
    let variables = [("POOLHOUSE_CLOSE_TIMEOUT", "200ms")];
    let mut program = variant.program("holds", &case_database)?;
    for (name, value) in variables {
        program = program.variable(name, value);
    }
    let mut program = program.start()?;
    program.line("ready").await?;
    case_database.one_runs("3600").await?;
    program.signal(Signal::SIGTERM)?;
    let ended = program.end().await?;
    code(&ended, 143)?;
    ensure!(
        variant.pool == "sqlx" || ended.error.contains("the statement `SELECT "),
        "{}",
        ended.error
    );
    variant.killed(1, &case_database).await
}

async fn second_signal_during_close<DB: Sql>(
    variant: Variant,
    case_database: CaseDatabase,
) -> anyhow::Result<()> {
    let program = variant
        .program("holds", &case_database)?
        .variable("POOLHOUSE_CLOSE_TIMEOUT", "1h");
    let mut program = program.start()?;
    program.line("ready").await?;
    case_database.one_runs("3600").await?;
    program.signal(Signal::SIGTERM)?;
    program.line("asks the program to end").await?;
    program.signal(Signal::SIGTERM)?;
    code(&program.end().await?, 143)?;
    variant.killed(1, &case_database).await
}

/// tokio's runtime waits for its blocking tasks without a limit when it is dropped.
async fn blocking_task<DB: Sql>(
    variant: Variant,
    case_database: CaseDatabase,
) -> anyhow::Result<()> {
    for (signal, expected) in BOTH {
        let ended = signalled(variant, &case_database, "blocking_task", signal, &[]).await?;
        code(&ended.end().await?, expected)?;
        // A body that returns leaves the wait to tokio, and a further signal ends it.
        let mut waiting = signalled(
            variant,
            &case_database,
            "blocking_task",
            signal,
            &[SHUTDOWN],
        )
        .await?;
        waiting.line("pool closed").await?;
        code(&waiting.end_by(signal).await?, expected)?;
    }
    case_database.closed_in_good_order().await
}

async fn panics_in_drop<DB: Sql>(
    variant: Variant,
    case_database: CaseDatabase,
) -> anyhow::Result<()> {
    for (signal, expected) in BOTH {
        let ended = signalled(variant, &case_database, "panics_in_drop", signal, &[]).await?;
        code(&ended.end().await?, expected)?;
    }
    case_database.closed_in_good_order().await
}

/// The body blocks the only thread of its runtime, or one of them.
async fn blocks<DB: Sql>(variant: Variant, case_database: CaseDatabase) -> anyhow::Result<()> {
    let mut program = signalled(
        variant,
        &case_database,
        "blocks",
        Signal::SIGTERM,
        &[SHUTDOWN],
    )
    .await?;
    program.line("a signal asks the program to end").await?;
    program.signal(Signal::SIGTERM)?;
    program.line("second signal: the remaining work").await?;
    code(&program.end_by(Signal::SIGINT).await?, 130)
}

/// tokio's handlers of signals stay installed after the run that installed them.
#[tokio::test]
async fn a_signal_after_a_lifespan_ends_the_program() -> anyhow::Result<()> {
    for (signal, expected) in BOTH {
        let Some(case_database) = CaseDatabase::of::<sqlx::Postgres>("deaf").await? else {
            return Ok(());
        };
        let program = Program::new(env!("CARGO_BIN_EXE_attributed"))?
            .argument("returns")
            .variable("DATABASE_URL", case_database.url())
            .variable("POOL", "lifespan");
        let mut program = program.start()?;
        program.line("served").await?;
        code(&program.end_by(signal).await?, expected)?;
        case_database.closed_in_good_order().await?;
    }
    Ok(())
}

/// One of two engines cannot start while the connections of the other are being opened over a slow network.
async fn start_fails<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let database = case_database.database()?;
    let (slow, held) = (
        Proxy::before(database.address()?)?,
        Proxy::before(database.address()?)?,
    );
    // A close ends openings after four seconds, and each of them needs some ten round trips.
    slow.delay(Duration::from_millis(40));
    held.stop();
    let wrong = database.url_through(held.address());
    let wrong = wrong.replace(database.password(), "s3cret");
    let program = Program::new(env!("CARGO_BIN_EXE_nested"))?
        .argument("main_with_two_engines")
        .variable("DATABASE_URL", database.url_through(slow.address()))
        .variable("OTHER_URL", wrong)
        .start()?;
    let some = database.sessions_become("some are open", |open| !open.is_empty());
    some.await?;
    held.pass();
    let ended = program.end().await?;
    code(&ended, 1)?;
    ensure!(
        ended.error.contains("rejected the user or the password"),
        "{}",
        ended.error
    );
    case_database.closed_in_good_order().await
}

/// A connection is dropped on a runtime that does not run after that: at the end of a query, which waits for the close, and as a
/// checkout.
async fn another_runtime<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let run = async |shape: &str| -> anyhow::Result<String> {
        let program = Program::new(env!("CARGO_BIN_EXE_nested"))?
            .argument(shape)
            .variable("DATABASE_URL", case_database.url());
        let ended = program.run().await?;
        code(&ended, 0)?;
        Ok(ended.error)
    };
    let warning = "the close of a connection does not end, and is not waited for";
    let said = run("query_on_another_runtime").await?;
    ensure!(!said.contains(warning), "{said}");
    case_database.closed_in_good_order().await?;
    let said = run("checkout_on_another_runtime").await?;
    ensure!(said.contains(warning), "{said}");
    case_database.sessions_ended(1, 0).await
}
