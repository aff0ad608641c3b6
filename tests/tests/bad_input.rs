//! What people get wrong, and what they are told: each message names the engine, the setting, its source and the cure.
//!
//! What a setting itself can get wrong (a missing URL, a broken file, a bad variable) is tested beside the settings, in
//! the runtime crate; here is what only a driver or a server can say.

use poolhouse::{Backend, Settings, engine_finder_with};
use poolhouse_tests::{Kind, Program, TestDatabase, servers};
use sqlx::{MySql, Postgres, Sqlite};

/// The message of a start with this URL, which must fail. The line of its source is left out.
async fn failure<DB: Backend>(url: &str) -> String {
    let line = line!() + 1;
    let settings = Settings::new().url(url).start_timeout("300ms");
    let started = match engine_finder_with::<DB>(&settings) {
        Ok(engine) => engine.start_connection_pool().await,
        Err(error) => Err(error),
    };
    let error = started.expect_err("the start fails");
    // What `main` prints of an error is its `Debug` form.
    assert_eq!(error.to_string(), format!("{error:?}"));
    error
        .to_string()
        .replace(&format!("(builder, {}:{line})", file!()), "(builder, here)")
}

#[tokio::test]
async fn an_unknown_scheme() {
    assert_eq!(
        failure::<Postgres>("postgre://app:hush@localhost/shop").await,
        "engine `default`: its pool could not be started: no database has the url scheme `postgre` (did you mean \
         `postgres`?). Begin the url with one of: postgres, postgresql, mysql, mariadb, sqlite. \
         url = postgre://app:***@localhost/shop (builder, here)"
    );
}

#[tokio::test]
async fn an_engine_of_another_kind() {
    assert_eq!(
        failure::<Postgres>("mysql://app:hush@localhost/shop").await,
        "engine `default`: its pool could not be started: it is configured for MySQL, and the code asks for Postgres. \
         Configure a Postgres url, or ask for an engine of MySQL. url = mysql://app:***@localhost/shop (builder, here)"
    );
}

#[tokio::test]
async fn an_engine_that_is_known_as_another_kind() {
    let settings = Settings::new().url("sqlite::memory:");
    engine_finder_with::<Sqlite>(&settings).expect("the engine is new");
    let error = engine_finder_with::<Postgres>(&settings).expect_err("it is SQLite's");
    let message = error.to_string();
    assert!(
        message.contains("it is configured for SQLite, and the code asks for Postgres"),
        "{message}"
    );
}

#[tokio::test]
async fn a_server_that_refuses() {
    // Nothing listens on port 1 of this machine.
    let message = failure::<Postgres>("postgres://app:hush@127.0.0.1:1/shop").await;
    for words in [
        "engine `default`: its pool could not be started: Postgres: the server refused the connection",
        "Connection refused",
        ", tried ",
        "start_timeout = 300ms (builder, ",
        "Start the server, or correct host and port of the url. ",
        "url = postgres://app:***@127.0.0.1:1/shop (builder, here)",
    ] {
        assert!(message.contains(words), "{words:?} is not in: {message}");
    }
}

/// A start with a changed URL of a real database fails with this message, and leaves no session behind.
async fn refused<DB: Backend>(
    database: &TestDatabase,
    url: &str,
    words: [&str; 3],
) -> anyhow::Result<()> {
    let message = failure::<DB>(url).await;
    for words in words {
        assert!(message.contains(words), "{words:?} is not in: {message}");
    }
    // Those failures do not pass by themselves, so there is no second attempt.
    assert!(!message.contains("tried"), "{message}");
    assert!(!message.contains(database.password()), "{message}");
    database.no_session_left().await
}

/// The start of a real database's URL with another password.
async fn wrong_password<DB: Backend>(kind: Kind) -> anyhow::Result<()> {
    let Some(server) = servers::require(kind) else {
        return Ok(());
    };
    let database = server.database("password").await?;
    let url = database.url().replace(database.password(), "wrong");
    let words = [
        "the server rejected the user or the password",
        "Correct user and password of the url",
        ":***@",
    ];
    refused::<DB>(&database, &url, words).await
}

#[tokio::test]
async fn a_wrong_password_for_postgres() -> anyhow::Result<()> {
    wrong_password::<Postgres>(Kind::Postgres).await
}

#[tokio::test]
async fn a_wrong_password_for_mariadb() -> anyhow::Result<()> {
    wrong_password::<MySql>(Kind::MariaDb).await
}

/// The start of a real database's URL with another database.
async fn unknown_database<DB: Backend>(kind: Kind, words: [&str; 3]) -> anyhow::Result<()> {
    let Some(server) = servers::require(kind) else {
        return Ok(());
    };
    let database = server.database("unknown").await?;
    refused::<DB>(&database, &format!("{}_absent", database.url()), words).await
}

#[tokio::test]
async fn an_unknown_database_on_postgres() -> anyhow::Result<()> {
    let words = [
        "Postgres: the database does not exist",
        "Create the database, or correct its name in the url",
        "_absent (builder, here)",
    ];
    unknown_database::<Postgres>(Kind::Postgres, words).await
}

#[tokio::test]
async fn an_unknown_database_on_mariadb() -> anyhow::Result<()> {
    let words = [
        "MySQL: the database does not exist",
        "Create the database, or correct its name in the url",
        "_absent (builder, here)",
    ];
    unknown_database::<MySql>(Kind::MariaDb, words).await
}

#[tokio::test]
async fn a_sqlite_folder_that_is_missing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("missing").join("shop.db");
    let message = failure::<Sqlite>(&format!("sqlite:{}?mode=rwc", file.display())).await;
    assert!(
        message.contains("SQLite: the database file cannot be opened"),
        "{message}"
    );
    assert!(message.contains("Create its folder"), "{message}");
    assert!(std::fs::read_dir(folder.path())?.next().is_none());
    Ok(())
}

#[tokio::test]
async fn a_sqlite_folder_that_cannot_be_written() {
    // Nobody can create a file there, not even root.
    let message = failure::<Sqlite>("sqlite:/proc/shop.db?mode=rwc").await;
    assert!(
        message.contains("SQLite: the database file cannot be opened"),
        "{message}"
    );
    assert!(
        message.contains("give this user the right to write there"),
        "{message}"
    );
}

#[tokio::test]
async fn a_program_says_it_on_its_last_line() -> anyhow::Result<()> {
    let program = Program::example("quickstart")?.variable(
        "QUICKSTART_DATABASE_URL",
        "sqlite:missing/shop.db?password=hush",
    );
    let ended = program.run().await?;
    let said = ended.everything();
    assert_eq!(ended.code(), Some(1), "{said}");
    assert!(said.contains("Error: engine `quickstart`"), "{said}");
    assert!(
        said.contains("(environment, QUICKSTART_DATABASE_URL)"),
        "{said}"
    );
    assert!(!said.contains("hush"), "{said}");
    Ok(())
}
