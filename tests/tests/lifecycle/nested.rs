//! A signal to nested and parallel functions closes all of them, in whatever order they get it (fault 44).

#![allow(
    clippy::extra_unused_type_parameters,
    reason = "the table names each case's database, whether the case asks for it or not"
)]

use anyhow::ensure;
use poolhouse_tests::{CaseDatabase, Program, Sql, program::Signal};

use crate::{table::case_databases, variant::code};

case_databases! {
    case_44_a_lifespan_that_listens_inside_another_function: inside, on (postgres, mariadb);
    case_44_functions_beside_one_another: beside, on (postgres, mariadb);
    case_44_a_lifespan_that_listens_inside_main: inside_main, on (postgres, mariadb);
    a_signal_during_the_close_of_a_lifespan_ends_the_program: during_the_close, on (postgres, mariadb);
    a_second_signal_ends_the_close_of_a_dropped_lifespan: second_signal, on (postgres, mariadb);
    a_signal_ends_a_program_that_no_longer_listens: no_longer_listens, on (postgres);
}

/// Runs the program with this shape, and ends it by a signal once `sessions` are open.
async fn ends(case_database: &CaseDatabase, shape: &str, sessions: usize) -> anyhow::Result<()> {
    let mut program = Program::new(env!("CARGO_BIN_EXE_nested"))?
        .argument(shape)
        .variable("DATABASE_URL", case_database.url())
        .start()?;
    program.line("ready").await?;
    let database = case_database.database()?;
    let what = format!("{sessions} sessions of {shape} are open");
    database
        .sessions_become(&what, |open| open.len() == sessions)
        .await?;
    program.signal(Signal::SIGTERM)?;
    let ended = program.end().await?;
    ensure!(
        ended.code() == Some(143),
        "{shape}: {}\n{}",
        ended.status,
        ended.everything()
    );
    case_database.closed_in_good_order().await
}

async fn inside<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    ends(&case_database, "inside", 6).await?;
    ends(&case_database, "inside_a_deaf_one", 6).await?;
    ends(&case_database, "inside_one_with_shutdown", 6).await?;
    ends(&case_database, "a_deaf_one_inside", 6).await?;
    ends(&case_database, "three_deep", 9).await
}

async fn beside<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    ends(&case_database, "beside", 6).await?;
    ends(&case_database, "beside_a_deaf_one", 6).await?;
    ends(&case_database, "in_a_task", 6).await
}

async fn inside_main<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    ends(&case_database, "main", 6).await?;
    ends(&case_database, "main_with_shutdown", 6).await
}

/// The program calls the function again and again. One of its sessions is left when the close has begun.
async fn during_the_close<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    ends(&case_database, "again_and_again", 1).await?;
    ends(&case_database, "again_and_again_by_its_token", 1).await
}

/// The body of `main` is dropped at the signal, or returns, and drops a function whose close waits for a connection.
async fn second_signal<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let shapes = [
        ("main_around_a_long_close", "asks the program to end", 143),
        (
            "main_with_shutdown_around_a_long_close",
            "the body returns",
            0,
        ),
    ];
    for (killed, (shape, at, expected)) in (1..).zip(shapes) {
        let mut program = Program::new(env!("CARGO_BIN_EXE_nested"))?
            .argument(shape)
            .variable("DATABASE_URL", case_database.url())
            .start()?;
        program.line("ready").await?;
        program.signal(Signal::SIGTERM)?;
        program.line(at).await?;
        program.signal(Signal::SIGTERM)?;
        code(&program.end().await?, expected)?;
        case_database.sessions_ended(0, killed).await?;
    }
    Ok(())
}

/// The signal ends the process at once, so that nothing is closed.
async fn no_longer_listens<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    for shape in ["before_a_deaf_one", "returns_inside_a_deaf_one"] {
        let mut program = Program::new(env!("CARGO_BIN_EXE_nested"))?
            .argument(shape)
            .variable("DATABASE_URL", case_database.url())
            .start()?;
        program.line("ready").await?;
        program.signal(Signal::SIGTERM)?;
        code(&program.end().await?, 143)?;
    }
    case_database.no_session_left().await
}
