//! Whole messages about mistakes, from a real program, which fails and creates nothing.
//!
//! The messages for every setting and source are tested with the code that reads the settings.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::ensure;
use poolhouse_tests::{Program, program::Ended};

/// Runs one of the small programs, which must fail, and returns its error.
async fn error(program: Program) -> anyhow::Result<String> {
    let folder = fs::canonicalize(program.folder())?;
    let ended = program.run().await?;
    let Ended { output, error, .. } = &ended;
    ensure!(
        ended.code() == Some(1),
        "{}: {}",
        ended.status,
        ended.everything()
    );
    ensure!(output.is_empty(), "{output}");
    ensure!(
        !ended.everything().contains("s3cret"),
        "{}",
        ended.everything()
    );
    Ok(error.replace(&folder.display().to_string(), "FOLDER"))
}

fn plain(name: &str) -> anyhow::Result<Program> {
    Ok(Program::new(env!("CARGO_BIN_EXE_plain"))?.argument(name))
}

/// The location of a program's attribute.
fn line_of(words: &str) -> String {
    let source = include_str!("../src/bin/plain.rs");
    let line = source.lines().position(|line| line.contains(words));
    format!("tests/src/bin/plain.rs:{}", line.map_or(0, |line| line + 1))
}

/// Compares a message, and shows both texts if they differ.
fn same(said: &str, expected: &str) -> anyhow::Result<()> {
    ensure!(said == expected, "\n{said}\ninstead of\n{expected}");
    Ok(())
}

#[tokio::test]
async fn no_url_anywhere() -> anyhow::Result<()> {
    let expected = "Error: engine `default` has no URL: the variable DATABASE_URL is not set in the environment, and there is \
                    no .env file in FOLDER or above it; there is no poolhouse.toml in FOLDER or above it; the code gives no \
                    `url`. Set the variable DATABASE_URL, write `url` into [engine] of poolhouse.toml, or give it in code: \
                    #[with_pool(url = \"…\")]\n";
    for program in ["any", "none", "unit", "exit_code", "boxed", "under_tokio"] {
        same(&error(plain(program)?).await?, expected)?;
    }
    Ok(())
}

#[tokio::test]
async fn an_unknown_scheme() -> anyhow::Result<()> {
    let url = "postgers://band:s3cret@host/db";
    for program in ["any", "none", "sqlite"] {
        let said = error(plain(program)?.variable("DATABASE_URL", url)).await?;
        same(
            &said,
            "Error: engine `default`: its pool could not be started: no database has the url scheme `postgers` (did you mean \
             `postgres`?). Begin the url with one of: postgres, postgresql, cockroachdb, \
             cockroach, mysql, mariadb, sqlite. url = postgers://band:***@host/db (environment, DATABASE_URL)\n",
        )?;
    }
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_not_toml() -> anyhow::Result<()> {
    let program = plain("any")?.file(
        "poolhouse.toml",
        "[engine]\nurl = 'sqlite:a.db\nmax_size = 3\n",
    )?;
    let said = error(program).await?;
    ensure!(said.starts_with("Error: poolhouse.toml:2:"), "{said}");
    ensure!(said.contains("string"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_file_with_a_slip() -> anyhow::Result<()> {
    let program = plain("any")?.file(
        "poolhouse.toml",
        "[engine]\nurl = 'sqlite::memory:'\nmaxsize = 3\n",
    )?;
    same(
        &error(program).await?,
        "Error: poolhouse.toml:3: there is no setting `maxsize` here; did you mean `max_size`?\n",
    )?;
    let program = plain("any")?.file("poolhouse.toml", "[engin]\nurl = 'sqlite::memory:'\n")?;
    let said = error(program).await?;
    ensure!(
        said.starts_with("Error: poolhouse.toml:1: there is no section `engin` here; did you mean"),
        "{said}"
    );
    let program = plain("any")?.file(
        "poolhouse.toml",
        "[engine]\nurl = 'sqlite::memory:'\nmax_connections = 3\n",
    )?;
    let said = error(program).await?;
    ensure!(
        said.starts_with("Error: poolhouse.toml:3: ") && said.contains("`max_size`"),
        "{said}"
    );
    Ok(())
}

#[tokio::test]
async fn a_bad_variable() -> anyhow::Result<()> {
    let program = plain("any")?
        .variable("DATABASE_URL", "sqlite::memory:")
        .variable("POOLHOUSE_MAX_SIZE", "many");
    same(
        &error(program).await?,
        "Error: engine `default`: `max_size` = \"many\" (environment, POOLHOUSE_MAX_SIZE) is not valid; expected a whole number \
         from 1 to 262143\n",
    )?;
    let program = plain("any")?
        .variable("DATABASE_URL", "sqlite::memory:")
        .variable("POOLHOUSE_FLAVOR", "fast");
    same(
        &error(program).await?,
        "Error: engine `default`: `flavor` = \"fast\" (environment, POOLHOUSE_FLAVOR) is not valid; expected \"multi_thread\" or \
         \"current_thread\"\n",
    )
}

#[tokio::test]
async fn a_misspelt_variable() -> anyhow::Result<()> {
    for program in ["any", "unit"] {
        let program = plain(program)?.variable("POOLHOUSE_URL", "sqlite::memory:");
        let said = error(program).await?;
        let warning = "Warning: POOLHOUSE_URL is not a variable of poolhouse; did you mean DATABASE_URL? engine=\"default\"\n\
                       Error: engine `default` has no URL: ";
        ensure!(said.starts_with(warning), "{said}");
    }
    Ok(())
}

/// The exit code is the documented one when the error cannot be written.
#[test]
fn a_standard_error_that_is_full() -> anyhow::Result<()> {
    for (program, run) in [("unit", ""), ("exit_code", ""), ("unit", "chek")] {
        let status = Command::new(env!("CARGO_BIN_EXE_plain"))
            .arg(program)
            .env_clear()
            .env("POOLHOUSE_RUN", run)
            .current_dir("/")
            .stdout(Stdio::null())
            .stderr(fs::File::create("/dev/full")?)
            .status()?;
        ensure!(status.code() == Some(1), "{program}: {status}");
    }
    Ok(())
}

#[tokio::test]
async fn an_unknown_engine() -> anyhow::Result<()> {
    let program = plain("reports")?
        .variable("DATABASE_URL", "sqlite::memory:")
        .file(
            "poolhouse.toml",
            "[engines.report]\nurl = 'sqlite::memory:'\n",
        )?;
    same(
        &error(program).await?,
        &format!(
            "Error: engine `reports` (attribute, {}) is not configured; known: default, report. Did you mean `report`? To add \
             it, set the variable REPORTS_DATABASE_URL, write [engines.reports] into poolhouse.toml, or give `url` in code\n",
            line_of("#[with_pool(engine = \"reports\"")
        ),
    )
}

#[tokio::test]
async fn an_engine_of_another_kind() -> anyhow::Result<()> {
    let program = plain("sqlite")?.variable("DATABASE_URL", "postgres://band:s3cret@host/db");
    same(
        &error(program).await?,
        "Error: engine `default`: its pool could not be started: it is configured for Postgres, and the code asks for SQLite. \
         Configure a SQLite url, or ask for an engine of Postgres. url = postgres://band:***@host/db (environment, \
         DATABASE_URL)\n",
    )
}

#[tokio::test]
async fn a_server_that_is_not_there() -> anyhow::Result<()> {
    for url in [
        "postgres://band:s3cret@127.0.0.1:1/db",
        "mysql://band:s3cret@127.0.0.1:1/db",
    ] {
        let program = plain("any")?
            .variable("DATABASE_URL", url)
            .variable("POOLHOUSE_START_TIMEOUT", "3s");
        let said = error(program).await?;
        let (scheme, _) = url.split_once(':').unwrap_or_default();
        let name = if scheme == "mysql" {
            "MySQL"
        } else {
            "Postgres"
        };
        let begin = format!(
            "Error: engine `default`: its pool could not be started: {name}: the server refused the connection, \
             tried "
        );
        ensure!(said.starts_with(&begin), "{said}");
        let end = format!(
            "; start_timeout = 3s (environment, POOLHOUSE_START_TIMEOUT). Start the server, or correct host and port of the \
             url. url = {scheme}://band:***@127.0.0.1:1/db (environment, DATABASE_URL). Caused by: error communicating with \
             database: Connection refused (os error 111)\n"
        );
        ensure!(said.ends_with(&end), "{said}");
        ensure!(said.contains(" times in "), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_folder_that_is_not_there() -> anyhow::Result<()> {
    let program = plain("any")?.variable("DATABASE_URL", "sqlite:missing/band.db?mode=rwc");
    let folder = program.folder().to_owned();
    same(
        &error(program).await?,
        "Error: engine `default`: its pool could not be started: SQLite: the database file cannot be opened. \
         Create its folder and give this user the right to write \
         there (SQLite writes files beside the database), or add ?mode=rwc to the url when the file is to be created. url = \
         sqlite:missing/band.db?mode=rwc (environment, DATABASE_URL). Caused by: unable to open database file\n",
    )?;
    ensure!(!folder.exists(), "the program's folder is gone with it");
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_not_to_be_created() -> anyhow::Result<()> {
    let program = plain("any")?.variable("DATABASE_URL", "sqlite:band.db");
    let said = error(program).await?;
    ensure!(
        said.contains("add ?mode=rwc to the url when the file is to be created"),
        "{said}"
    );
    Ok(())
}

#[tokio::test]
async fn a_file_that_may_not_be_written() -> anyhow::Result<()> {
    // Not even root can create a file there.
    let program = plain("any")?.variable("DATABASE_URL", "sqlite:/proc/band.db?mode=rwc");
    let said = error(program).await?;
    ensure!(
        said.contains("SQLite: the database file cannot be opened"),
        "{said}"
    );
    ensure!(
        said.contains("give this user the right to write there"),
        "{said}"
    );
    Ok(())
}
