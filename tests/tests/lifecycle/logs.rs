//! A logger that the body sets up gets the lines of the start, and lines of libraries as without poolhouse.

use anyhow::ensure;
use poolhouse_tests::Program;

/// The lines of the log, sorted, without the numbers in them.
async fn lines(logger: &str, when: &str) -> anyhow::Result<Vec<String>> {
    let program = Program::new(env!("CARGO_BIN_EXE_logs"))?
        .argument(logger)
        .argument(when);
    let ended = program.run().await?;
    ensure!(ended.code() == Some(0), "{}", ended.everything());
    ensure!(ended.output.contains("done"), "{}", ended.everything());
    // `12ms 345us` is one time, `12ms` another.
    let without_times = |line: &str| {
        let words = line
            .split_whitespace()
            .filter(|word| !word.starts_with(|c: char| c.is_ascii_digit()));
        words.collect::<Vec<_>>().join(" ")
    };
    // Spans cannot be buffered; a logger of `log` gets their begin as a line.
    let of_span = "start_connection_pool{engine=default}: ";
    let lines = ended
        .error
        .lines()
        .filter(|line| !line.contains("_connection_pool; "))
        .map(|line| without_times(&line.replace(of_span, "")));
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    Ok(lines)
}

/// A logger that is set up in the body gets the same lines as one set up before the start.
async fn nothing_is_lost(logger: &str, expected: &[&str]) -> anyhow::Result<()> {
    let before = lines(logger, "before").await?;
    let in_body = lines(logger, "in_body").await?;
    ensure!(
        before == in_body,
        "{logger}: {before:#?}, but set up in the body {in_body:#?}"
    );
    for words in expected {
        let found = in_body.iter().filter(|line| line.contains(words)).count();
        ensure!(
            found == 1,
            "{logger}: {found} times {words:?}: {in_body:#?}"
        );
    }
    if expected.is_empty() {
        ensure!(in_body.is_empty(), "{logger}: {in_body:#?}");
    }
    Ok(())
}

const OF_THE_START: [&str; 3] = [
    "has no extensions to create",
    "pool started on SQLite",
    "pool closed",
];

#[tokio::test]
async fn env_logger_hears_everything() -> anyhow::Result<()> {
    // A logger gets the begin of a statement's span.
    let of_others = [
        "library that uses tracing",
        "library that uses log",
        "db.query.text=\"SELECT",
    ];
    nothing_is_lost("env_logger", &[&OF_THE_START[..], &of_others].concat()).await
}

#[tokio::test]
async fn tracing_subscriber_hears_everything() -> anyhow::Result<()> {
    let of_libraries = ["library that uses tracing"];
    nothing_is_lost("tracing", &[&OF_THE_START[..], &of_libraries].concat()).await
}

#[tokio::test]
async fn both_hear_everything_once() -> anyhow::Result<()> {
    let of_libraries = [
        "library that uses tracing",
        "log: WARN of a library that uses log",
    ];
    nothing_is_lost("both", &[&OF_THE_START[..], &of_libraries].concat()).await
}

#[tokio::test]
async fn without_either_nothing_is_said() -> anyhow::Result<()> {
    nothing_is_lost("none", &[]).await
}
