//! A program as a child process.

use poolhouse_tests::{
    Program,
    program::{Signal, runs},
};

fn shell(script: &str) -> anyhow::Result<Program> {
    Ok(Program::new("/bin/sh")?.argument("-c").argument(script))
}

#[tokio::test]
async fn a_program_is_heard_signalled_and_waited_for() -> anyhow::Result<()> {
    // A shell acts on a signal between two commands, so each of them is short.
    let script = "trap 'echo bye >&2; exit 5' TERM; echo ready; while :; do sleep 0.01; done";
    let mut program = shell(script)?.start()?;
    assert_eq!(program.line("ready").await?, "ready");
    program.signal(Signal::SIGTERM)?;
    let ended = program.end().await?;
    assert_eq!(
        (ended.code(), ended.output.as_str(), ended.error.as_str()),
        (Some(5), "ready\n", "bye\n")
    );
    Ok(())
}

#[tokio::test]
async fn a_line_that_does_not_come_is_an_error_with_what_was_said() -> anyhow::Result<()> {
    let error = shell("echo something else")?
        .start()?
        .line("ready")
        .await
        .expect_err("it never says so");
    let said = format!("{error:#}");
    assert!(
        said.contains("ready") && said.contains("something else"),
        "{said}"
    );
    Ok(())
}

#[tokio::test]
async fn nothing_of_the_tests_environment_reaches_a_program() -> anyhow::Result<()> {
    let program = shell("env; pwd; cat given")?
        .variable("GIVEN", "yes")
        .file("given", "a file")?;
    let folder = program.folder().display().to_string();
    let ended = program.run().await?;
    assert!(
        ended.output.contains("GIVEN=yes") && ended.output.contains("a file"),
        "{}",
        ended.output
    );
    assert!(
        ended.output.contains(&format!("HOME={folder}")),
        "{}",
        ended.output
    );
    assert!(
        !ended.output.contains("CARGO") && !ended.output.contains("POOLHOUSE"),
        "{}",
        ended.output
    );
    Ok(())
}

#[tokio::test]
async fn a_dropped_program_is_killed() -> anyhow::Result<()> {
    let mut program = shell("echo ready; exec sleep 600")?.start()?;
    program.line("ready").await?;
    let id = program.id().expect("it runs");
    drop(program);
    poolhouse_tests::eventually("the process is gone", async || {
        anyhow::ensure!(!runs(id), "{id} is there");
        Ok(())
    })
    .await
}
