//! Runs every example as a program.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;
use poolhouse_tests::program::{Ended, Running, Signal};
use poolhouse_tests::{Kind, Program, servers};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Checks that the output contains all of these, in this order.
fn assert_says(ended: &Ended, lines: &[&str]) {
    assert_eq!(ended.code(), Some(0), "{}", ended.everything());
    let mut rest = ended.output.as_str();
    for line in lines {
        let Some((_, after)) = rest.split_once(line) else {
            panic!(
                "{line:?} is missing, or not in its place: {}",
                ended.everything()
            );
        };
        rest = after;
    }
}

/// The files that a program left in its folder.
fn files(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[tokio::test]
async fn quickstart() -> anyhow::Result<()> {
    // The example must ignore a `DATABASE_URL` of other programs.
    let program = Program::example("quickstart")?
        .variable("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none");
    let ended = program.run().await?;
    assert_says(
        &ended,
        &[
            "engine `quickstart`: pool started on SQLite",
            "max_size = 4 (attribute, examples/quickstart/main.rs:",
            "Rustaceans: 975 guests in 3 concerts",
            "The Lifetimes: 605 guests in 3 concerts",
            "Borrow Checkers: 410 guests in 2 concerts",
            "0 in use",
            "engine `quickstart`: pool closed, ",
        ],
    );
    assert_eq!(files(ended.folder())?, ["quickstart.db"]);
    Ok(())
}

#[tokio::test]
async fn quickstart_again_on_the_same_file() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}/again.db?mode=rwc", folder.path().display());
    for _ in 0..2 {
        let program = Program::example("quickstart")?.variable("QUICKSTART_DATABASE_URL", &url);
        let ended = program.run().await?;
        assert_says(
            &ended,
            &[
                "again.db?mode=rwc (environment, QUICKSTART_DATABASE_URL)",
                "Rustaceans: 975 guests in 3 concerts",
                "pool closed",
            ],
        );
    }
    assert_eq!(files(folder.path())?, ["again.db"]);
    Ok(())
}

#[tokio::test]
async fn two_engines() -> anyhow::Result<()> {
    let ended = Program::example("two_engines")?.run().await?;
    assert_says(
        &ended,
        &[
            // The engines start and close side by side, in unknown order.
            ": pool started",
            ": pool started",
            "Best seller: Zero Cost, 7 copies",
            ": pool closed",
            ": pool closed",
        ],
    );
    assert_eq!(files(ended.folder())?, ["reports.db", "shop.db"]);
    Ok(())
}

#[tokio::test]
async fn lifespan() -> anyhow::Result<()> {
    let ended = Program::example("lifespan")?.run().await?;
    assert_says(
        &ended,
        &[
            "engine `lifespan`: pool started",
            "engine `lifespan`: pool closed",
            "3 records after the first import",
            "engine `lifespan`: pool started",
            "engine `lifespan`: pool closed",
            "4 records after the second import",
        ],
    );
    assert_eq!(files(ended.folder())?, [] as [&str; 0]);
    Ok(())
}

#[tokio::test]
async fn event_handlers() -> anyhow::Result<()> {
    let ended = Program::example("event_handlers")?.run().await?;
    assert_says(
        &ended,
        &[
            "engine `default`: pool started",
            "max_size = 20 (builder, examples/event_handlers.rs:",
            "Served Corro and Ferris",
            "engine `default`: pool closed",
        ],
    );
    assert_eq!(files(ended.folder())?, [] as [&str; 0]);
    Ok(())
}

#[tokio::test]
async fn worker_finishes_the_job_in_hand() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("jobs.db");
    let ended = worker_until(&file, Signal::SIGTERM).await?;
    let begun = ended.output.matches(" begun: ").count();
    let done = ended.output.matches(" done\n").count();
    assert_says(&ended, &["job 1 begun", "job 1 done", "pool closed"]);
    assert_eq!(begun, done, "{}", ended.output);
    assert_eq!(jobs(&file).await?, (4 - done, done), "{}", ended.output);
    assert_eq!(files(folder.path())?, ["jobs.db"]);
    Ok(())
}

#[tokio::test]
async fn a_killed_worker_loses_no_job() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("jobs.db");
    let ended = worker_until(&file, Signal::SIGKILL).await?;
    assert_eq!(ended.code(), None);
    let (waiting, finished) = jobs(&file).await?;
    assert_eq!(waiting + finished, 4, "{}", ended.output);
    assert_eq!(finished, ended.output.matches(" done\n").count());
    Ok(())
}

/// Runs the worker and sends it a signal in its first job.
async fn worker_until(file: &Path, signal: Signal) -> anyhow::Result<Ended> {
    let url = format!("sqlite:{}?mode=rwc", file.display());
    let mut worker = Program::example("worker")?
        .variable("JOBS_DATABASE_URL", url)
        .start()?;
    worker.line("job 1 begun").await?;
    worker.signal(signal)?;
    worker.end().await
}

/// The numbers of waiting and of finished jobs.
async fn jobs(file: &Path) -> anyhow::Result<(usize, usize)> {
    let mut database: SqliteConnection =
        SqliteConnectOptions::new().filename(file).connect().await?;
    let count = "SELECT (SELECT count(*) FROM job), (SELECT count(*) FROM finished_job)";
    let (waiting, finished): (i64, i64) = sqlx::query_as(count).fetch_one(&mut database).await?;
    database.close().await?;
    Ok((usize::try_from(waiting)?, usize::try_from(finished)?))
}

#[tokio::test]
async fn axum_service_on_sqlite() -> anyhow::Result<()> {
    let ended = use_service(Program::example("axum_service")?).await?;
    assert_says(&ended, &["pool started on SQLite", "pool closed"]);
    assert_eq!(files(ended.folder())?, ["axum_service.db"]);
    Ok(())
}

#[tokio::test]
async fn axum_service_on_postgres() -> anyhow::Result<()> {
    axum_service_on(Kind::Postgres).await
}

#[tokio::test]
async fn axum_service_on_mariadb() -> anyhow::Result<()> {
    axum_service_on(Kind::MariaDb).await
}

#[tokio::test]
async fn help_needs_no_database() -> anyhow::Result<()> {
    for example in ["axum_service", "cli"] {
        let program = Program::example(example)?
            .argument("--help")
            .variable("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none");
        let ended = program.run().await?;
        assert_eq!(ended.code(), Some(0), "{}", ended.everything());
        assert!(
            ended.output.to_lowercase().contains("usage: "),
            "{}",
            ended.everything()
        );
        assert_eq!(files(ended.folder())?, [] as [&str; 0]);
    }
    Ok(())
}

#[tokio::test]
async fn cli() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}/cli.db?mode=rwc", folder.path().display());
    let cli = || anyhow::Ok(Program::example("cli")?.variable("DATABASE_URL", &url));
    let add = cli()?
        .argument("add")
        .argument("The Lifetimes")
        .argument("2015");
    assert_says(&add.run().await?, &["added The Lifetimes"]);
    let list = cli()?.argument("list").run().await?;
    assert_says(&list, &["The Lifetimes, since 2015"]);
    assert_eq!(cli()?.argument("sing").run().await?.code(), Some(2));
    Ok(())
}

/// A request that never ends, with all settings at their defaults.
#[tokio::test]
async fn axum_service_ends_within_30_s_of_a_signal() -> anyhow::Result<()> {
    let mut service = Program::example("axum_service")?
        .variable("PORT", "0")
        .start()?;
    let address = address(&mut service).await?;
    let mut stuck = TcpStream::connect(address).await?;
    let head = head("POST", "/bands", 10);
    stuck
        .write_all(format!("{head}expect: 100-continue\r\n\r\n").as_bytes())
        .await?;
    let mut go_on = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    stuck.read_exact(&mut go_on).await?;
    let begun = std::time::Instant::now();
    service.signal(Signal::SIGTERM)?;
    let ended = service.end().await?;
    let took = begun.elapsed();
    assert!(took < std::time::Duration::from_secs(30), "{took:?}");
    assert_eq!(ended.code(), Some(143), "{}", ended.everything());
    assert!(ended.everything().contains("pool closed"));
    Ok(())
}

async fn axum_service_on(kind: Kind) -> anyhow::Result<()> {
    let Some(server) = servers::require(kind) else {
        return Ok(());
    };
    let database = server.database("axum_service").await?;
    let program = Program::example("axum_service")?.variable("DATABASE_URL", database.url());
    let ended = use_service(program).await?;
    assert_says(&ended, &["(environment, DATABASE_URL)", "pool closed"]);
    assert!(!ended.everything().contains(database.password()));
    database.no_session_left().await
}

#[tokio::test]
async fn test_databases_on_postgres() -> anyhow::Result<()> {
    test_databases_on(Kind::Postgres).await
}

#[tokio::test]
async fn test_databases_on_mariadb() -> anyhow::Result<()> {
    test_databases_on(Kind::MariaDb).await
}

/// Only the list, because other tests use the same server.
async fn test_databases_on(kind: Kind) -> anyhow::Result<()> {
    let Some(server) = servers::require(kind) else {
        return Ok(());
    };
    let database = server.database("test_databases").await?;
    let program = Program::example("test_databases")?.variable("DATABASE_URL", database.url());
    let ended = program.run().await?;
    assert_says(&ended, &[" databases\n"]);
    assert!(!ended.everything().contains(database.password()));
    Ok(())
}

/// Uses every route of the service, and ends it during a request.
async fn use_service(program: Program) -> anyhow::Result<Ended> {
    let mut service = program.variable("PORT", "0").start()?;
    let address = address(&mut service).await?;
    let band = r#"{"name":"The Lifetimes","founded":2015}"#;
    let concert = r#"{"day":"2030-05-15","venue":"Oslo"}"#;
    let long = format!(r#"{{"name":"{}","founded":2015}}"#, "x".repeat(100));

    let get = async |path| request(address, "GET", path, "").await;
    let post = async |path, body| request(address, "POST", path, body).await;
    assert_eq!(get("/bands").await?, (200, "[]".to_owned()));
    assert_eq!(post("/bands", band).await?, (201, band.to_owned()));
    assert_eq!(post("/bands", band).await?.0, 409);
    assert_eq!(post("/bands", "{}").await?.0, 422);
    assert_eq!(get("/bands/The%20Lifetimes").await?, (200, band.to_owned()));
    assert_eq!(get("/bands/Nobody").await?.0, 404);
    let concerts = "/bands/The%20Lifetimes/concerts";
    assert_eq!(post(concerts, concert).await?, (201, concert.to_owned()));
    assert_eq!(post("/bands/Nobody/concerts", concert).await?.0, 404);
    assert_eq!(get(concerts).await?, (200, format!("[{concert}]")));
    // SQLite accepts a text of any length.
    assert!(matches!(post("/bands", &long).await?.0, 201 | 422));
    assert_eq!(get("/readyz").await?, (200, "ready".to_owned()));
    let (status, page) = get("/").await?;
    assert_eq!(status, 200, "{page}");
    for words in [
        "<td>The Lifetimes</td><td>2015</td><td>1</td>",
        "at most 10",
    ] {
        assert!(page.contains(words), "{page}");
    }
    let (status, health) = get("/healthz").await?;
    assert_eq!(status, 200, "{health}");
    assert!(health.contains(r#""max":10"#), "{health}");

    let late = r#"{"name":"The Drops","founded":2020}"#;
    let mut request = TcpStream::connect(address).await?;
    let head = head("POST", "/bands", late.len());
    request
        .write_all(format!("{head}expect: 100-continue\r\n\r\n").as_bytes())
        .await?;
    let mut go_on = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    request.read_exact(&mut go_on).await?;
    // The handler has the request now, and waits for its body.
    service.signal(Signal::SIGTERM)?;
    service.line("a signal asks the program to end").await?;
    request.write_all(late.as_bytes()).await?;
    assert_eq!(response(request).await?, (201, late.to_owned()));
    service.end().await
}

async fn address(service: &mut Running) -> anyhow::Result<SocketAddr> {
    let line = service.line("listening on http://").await?;
    let address = line
        .strip_prefix("listening on http://")
        .context("the line's beginning")?;
    Ok(address.parse()?)
}

async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> anyhow::Result<(u16, String)> {
    let mut connection = TcpStream::connect(address).await?;
    let request = format!("{}\r\n{body}", head(method, path, body.len()));
    connection.write_all(request.as_bytes()).await?;
    response(connection).await
}

fn head(method: &str, path: &str, length: usize) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n"
    )
}

/// The status and the body.
async fn response(mut connection: TcpStream) -> anyhow::Result<(u16, String)> {
    let mut text = String::new();
    connection.read_to_string(&mut text).await?;
    let (head, body) = text
        .split_once("\r\n\r\n")
        .context("an answer without a head")?;
    let status = head
        .split(' ')
        .nth(1)
        .context("an answer without a status")?;
    Ok((status.parse()?, body.to_owned()))
}
