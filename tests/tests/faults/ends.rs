//! Faults that end a whole program, with real programs and signals.

#![allow(
    clippy::extra_unused_type_parameters,
    reason = "the table names each case's database, whether the case asks for it or not"
)]

use anyhow::ensure;
use poolhouse_tests::{CaseDatabase, Sql, program::Signal};

use crate::variant::{Variant, code};

/// 1: the body returns.
pub(super) async fn returns<DB: Sql>(
    variant: Variant,
    case_database: CaseDatabase,
) -> anyhow::Result<()> {
    let ended = variant.program("returns", &case_database)?.run().await?;
    code(&ended, 0)?;
    case_database.closed_in_good_order().await
}

/// 2: the body fails, by `?` and by `return`. The error is the body's.
pub(super) async fn fails<DB: Sql>(
    variant: Variant,
    case_database: CaseDatabase,
) -> anyhow::Result<()> {
    for (body, error) in [
        ("fails", "Error: error returned from database: "),
        ("returns_an_error", "Error: the body's own error\n"),
    ] {
        let ended = variant.program(body, &case_database)?.run().await?;
        code(&ended, 1)?;
        ensure!(ended.error.contains(error), "{}", ended.error);
        case_database.closed_in_good_order().await?;
    }
    Ok(())
}

/// 3: the body panics.
pub(super) async fn panics<DB: Sql>(
    variant: Variant,
    case_database: CaseDatabase,
) -> anyhow::Result<()> {
    let ended = variant.program("panics", &case_database)?.run().await?;
    code(&ended, 101)?;
    ensure!(
        ended.error.contains("the body's own panic"),
        "{}",
        ended.error
    );
    case_database.closed_in_good_order().await
}

/// 4: a spawned task panics while it holds a checkout.
pub(super) async fn task_panics<DB: Sql>(
    variant: Variant,
    case_database: CaseDatabase,
) -> anyhow::Result<()> {
    let ended = variant
        .program("task_panics", &case_database)?
        .run()
        .await?;
    code(&ended, 0)?;
    ensure!(ended.output.contains("panicked: true"), "{}", ended.output);
    case_database.closed_in_good_order().await
}

/// 5: `process::exit` in the body. The sessions end, but without a close message.
pub(super) async fn exits<DB: Sql>(
    variant: Variant,
    case_database: CaseDatabase,
) -> anyhow::Result<()> {
    let ended = variant.program("exits", &case_database)?.run().await?;
    code(&ended, 7)?;
    let CaseDatabase::Server(database) = &case_database else {
        return Ok(());
    };
    case_database.no_session_left().await?;
    let uncleanly = database.ended_uncleanly().await?;
    ensure!(uncleanly > 0, "the documentation says otherwise");
    Ok(())
}

/// 6: SIGKILL inside a transaction. The database keeps nothing of it, and the next start works.
pub(super) async fn killed<DB: Sql>(
    variant: Variant,
    case_database: CaseDatabase,
) -> anyhow::Result<()> {
    case_database
        .run::<DB>("CREATE TABLE entry (id INTEGER)")
        .await?;
    let mut program = variant.program("transaction", &case_database)?.start()?;
    program.line("ready").await?;
    program.signal(Signal::SIGKILL)?;
    let ended = program.end().await?;
    ensure!(ended.code().is_none(), "{:?}", ended.status);
    if let CaseDatabase::Server(database) = &case_database {
        case_database.no_session_left().await?;
        ensure!(
            database.ended_uncleanly().await? > 0,
            "the server has not noticed"
        );
    }

    let ended = variant.program("returns", &case_database)?.run().await?;
    code(&ended, 0)?;
    ensure!(
        case_database
            .answer::<DB>("SELECT count(*) FROM entry")
            .await?
            == 0,
        "half a transaction is there"
    );
    case_database.no_session_left().await
}

/// 8: a second signal while the body ignores the first and a statement runs. All work is ended at once.
pub(super) async fn second_signal<DB: Sql>(
    variant: Variant,
    case_database: CaseDatabase,
) -> anyhow::Result<()> {
    let signals = [
        (Signal::SIGTERM, Signal::SIGTERM, 143),
        (Signal::SIGINT, Signal::SIGTERM, 130),
    ];
    for (index, (first, second, expected)) in (0..).zip(signals) {
        let program = variant.program("ignores", &case_database)?;
        // With these limits, only the second signal ends the program.
        let program = program
            .variable("SHUTDOWN", "1")
            .variable("POOLHOUSE_SHUTDOWN_TIMEOUT", "1h")
            .variable("POOLHOUSE_CLOSE_TIMEOUT", "1h");
        let mut program = program.start()?;
        program.line("ready").await?;
        case_database.one_runs("3600").await?;
        program.signal(first)?;
        program.line("asks the program to end").await?;
        program.signal(second)?;
        code(&program.end().await?, expected)?;
        variant.killed(index + 1, &case_database).await?;
    }
    Ok(())
}

/// 11: a clone of the pool in a `static`.
pub(super) async fn in_a_static<DB: Sql>(
    variant: Variant,
    case_database: CaseDatabase,
) -> anyhow::Result<()> {
    let ended = variant.program("static", &case_database)?.run().await?;
    code(&ended, 0)?;
    case_database.closed_in_good_order().await
}

/// 25: the body builds another runtime, uses the pool on it, and drops it.
pub(super) async fn another_runtime<DB: Sql>(
    variant: Variant,
    case_database: CaseDatabase,
) -> anyhow::Result<()> {
    if variant.pool == "sqlx" {
        // sqlx's pool takes a connection back on the runtime that drops it, and loses the connection with that runtime.
        return Ok(());
    }
    let ended = variant
        .program("another_runtime", &case_database)?
        .run()
        .await?;
    code(&ended, 0)?;
    case_database.closed_in_good_order().await
}
