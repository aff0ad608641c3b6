//! The verbose output of a whole program and the errors of engines contain no secret (fault 49).

use std::fmt::Write;

use anyhow::{Context, ensure};
use poolhouse::{AnyEngine, Engine, Settings, engine_finder_with};
use poolhouse_tests::{CaseDatabase, Program, Sql, Subject, subject::Own};

use super::{settings, started};
use crate::table::case_databases;

case_databases! {
    case_49_a_program_says_nothing_of_its_secrets: talkative, on (postgres, mariadb, sqlite);
    case_49_the_driver_does_not_get_what_it_does_not_know: unknown_parameters, on (postgres, mariadb);
    case_49_sql_of_a_session_that_fails_is_not_shown: session_fails, on (postgres, mariadb, sqlite);
    case_49_errors_of_a_connect_do_not_show_it: connect_fails, on (postgres, mariadb);
}

/// SQL with a secret that is valid on each database.
fn session<DB: Sql>() -> &'static str {
    match DB::PRODUCT {
        "Postgres" => "SET app.key = 's3cret'; SELECT set_config('app.token', 's3cret', false)",
        "MariaDB" => "SET @app_key = 's3cret'",
        _ => "SELECT 's3cret'",
    }
}

/// Adds parameters that no driver of a server knows.
fn with_unknown(url: &str) -> String {
    format!("{url}?api_key=s3cret&unheard-of=s3cret&p%61ssphrase=s3cret")
}

async fn talkative<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let on_server = DB::SERVER.is_some();
    let url = if on_server {
        with_unknown(&case_database.url())
    } else {
        case_database.url()
    };
    for pool in ["engine", "sqlx"] {
        let mut program = Program::new(env!("CARGO_BIN_EXE_attributed"))?
            .argument("returns")
            .variable("DATABASE_URL", &url)
            .variable("POOL", pool)
            .variable("POOLHOUSE_SESSION", session::<DB>());
        // SQLite's driver logs statements on a thread of its own.
        if on_server {
            let direct = format!("{}?of_direct=s3cret", case_database.url());
            program = program
                .variable("POOLHOUSE_LOG_QUERIES", "info")
                .variable("POOLHOUSE_DIRECT_URL", &direct);
        }
        let ended = program.run().await?;
        let said = ended.everything();
        ensure!(ended.code() == Some(0), "{said}");
        ensure!(!said.contains("s3cret"), "{said}");
        ensure!(said.contains("session = S"), "{said}");
        if let CaseDatabase::Server(database) = &case_database {
            ensure!(!said.contains(database.password()), "{said}");
            ensure!(
                said.contains("have no effect: api_key, unheard-of, passphrase"),
                "{said}"
            );
            ensure!(
                said.contains("have no effect: of_direct. direct_url = "),
                "{said}"
            );
        }
    }
    Ok(())
}

async fn unknown_parameters<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let url = with_unknown(&case_database.url());
    let node = Settings::new().url(&url);
    let settings = settings("unknown", &url).node("replica1", node);
    let engine: Engine<DB> = started(&settings).await?;
    Own(engine.clone()).execute("SELECT 1").await?;
    let shown = format!("{engine:?} {settings:?} {:?}", engine.connector_shown());
    ensure!(!shown.contains("s3cret"), "{shown}");
    engine.close_connection_pool().await;
    let any: AnyEngine = engine_finder_with(&Settings::new().engine("any").url(&url))?;
    any.start_connection_pool().await?;
    any.close_connection_pool().await;
    Ok(())
}

/// Shows an engine's status and name.
trait Shown {
    fn connector_shown(&self) -> String;
}

impl<DB: Sql> Shown for Engine<DB> {
    fn connector_shown(&self) -> String {
        format!("{:?} {}", self.status(), self.name())
    }
}

/// An error and all its sources, as people and programs print them.
fn all_of(error: &(dyn std::error::Error + 'static)) -> anyhow::Result<String> {
    let mut said = format!("{error} {error:?} {error:#?}");
    let mut source = error.source();
    while let Some(error) = source {
        write!(said, " {error} {error:?}")?;
        source = error.source();
    }
    Ok(said)
}

async fn session_fails<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let broken = match DB::PRODUCT {
        "Postgres" => "SET app.key = 's3cret",
        "MariaDB" => "SETT @app_key = 's3cret'",
        _ => "PRAGMA_KEY = 's3cret'",
    };
    let settings = settings("session_fails", case_database.url())
        .session(broken)
        .start_timeout("300ms")
        .acquire_timeout("300ms");
    let engine: Engine<DB> = engine_finder_with(&settings)?;
    let failed = engine.start_connection_pool().await;
    let said = all_of(&failed.err().context("it has started")?)?;
    ensure!(!said.contains("s3cret"), "{said}");
    // A query before the start, and one after a lazy start.
    let alone = Own(engine.clone()).execute("SELECT 1").await;
    let said = all_of(&alone.err().context("it works")?)?;
    ensure!(!said.contains("s3cret"), "{said}");
    let lazy: Engine<DB> = started(&settings.engine("lazy").lazy(true)).await?;
    let query = Own(lazy.clone()).execute("SELECT 1").await;
    let said = all_of(&query.err().context("it works")?)?;
    ensure!(!said.contains("s3cret"), "{said}");
    lazy.close_connection_pool().await;
    case_database.no_session_left().await
}

async fn connect_fails<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let database = case_database.database()?;
    let here = format!("{}:{}", database.name(), database.password());
    let address = database.address()?;
    let scheme = case_database
        .url()
        .split(':')
        .next()
        .unwrap_or_default()
        .to_owned();
    for url in [
        format!("{scheme}://s3cret:s3cret@{address}/db"),
        format!("{scheme}://{here}@{address}/s3cret"),
        format!("{scheme}://user:s3cret@{address}/user:s3cret@db"),
        format!("{scheme}://user:s3cret"),
        format!("{scheme}://user:s3cret@"),
        format!("{scheme}://{here}@{address},user:s3cret/db"),
        format!("{scheme}://u:s3cret@{address}/db?statement-cache-capacity=s3cret"),
        format!("host={address} user=u password=s3cret"),
        "user:s3cret@".to_owned(),
        format!("{scheme}:user:s3cret"),
    ] {
        let settings = Settings::new()
            .engine("connect_fails")
            .url(&url)
            .start_timeout("300ms")
            .connect_timeout("300ms");
        let failed = match engine_finder_with::<DB>(&settings) {
            Ok(engine) => engine.start_connection_pool().await,
            Err(error) => Err(error),
        };
        let said = all_of(&failed.err().with_context(|| format!("{url} works"))?)?;
        // The name of a missing database is no secret.
        let is_name = url.ends_with("/s3cret");
        ensure!(is_name || !said.contains("s3cret"), "{url}: {said}");
        ensure!(!said.contains(database.password()), "{url}: {said}");
        ensure!(!format!("{settings:?}").contains(&here), "{settings:?}");
    }
    Ok(())
}
