//! Which migrations are run, and how their files are read.

use std::path::Path;
use std::sync::LazyLock;

use sqlx::migrate::{MigrationType, Migrator};

use super::super::Settings;
use super::super::migrations::Migrations;
use super::TestSources;

static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| Migrator::with_migrations(vec![]));

const FILES: &[(&str, &str)] = &[
    ("0010_concerts.up.sql", "CREATE TABLE concert (id INT)"),
    ("0010_concerts.down.sql", "DROP TABLE concert"),
    ("0002_more_bands.sql", "-- no-transaction\nSELECT 1"),
    ("0001_bands.sql", "CREATE TABLE band (id INT)"),
    ("README.sql", "not a migration"),
    ("notes_on_bands.txt", "not a migration"),
];

#[test]
fn a_directory_is_meant_from_where_it_is_written() {
    let sources = TestSources::with_url()
        .file("poolhouse.toml", "[engine]\nmigrations = 'sql'")
        .enter("a");
    let directory = |code: &Settings| match sources.resolve(code).unwrap().migrations {
        Migrations::Directory(path) => path,
        other => panic!("{other:?}"),
    };
    assert_eq!(directory(&Settings::new()), sources.root.join("sql"));
    assert_eq!(
        directory(&Settings::new().migrations("sql")),
        sources.root.join("a/sql")
    );
    assert_eq!(
        directory(&Settings::new().migrations("/sql")),
        Path::new("/sql")
    );
}

#[test]
fn the_strongest_source_wins_whatever_its_shape() {
    let sources = TestSources::with_url().file("poolhouse.toml", "[engine]\nmigrations = 'filed'");
    let embedded = Settings::attribute().embedded_migrations("embedded", FILES);
    assert!(
        sources
            .resolve(&embedded)
            .unwrap()
            .describe("migrations")
            .starts_with("migrations = \"embedded\", 6 files embedded (attribute, ")
    );

    let migrator = embedded.clone().migrator(&*MIGRATOR);
    assert!(
        sources
            .resolve(&migrator)
            .unwrap()
            .describe("migrations")
            .starts_with("migrations = a migrator with 0 migrations (")
    );

    let directory = migrator.clone().migrations("coded");
    assert!(matches!(
        sources.resolve(&directory).unwrap().migrations,
        Migrations::Directory(_)
    ));

    let sources = sources.variable("POOLHOUSE_MIGRATIONS", "from_environment");
    let settings = sources.resolve(&migrator).unwrap();
    assert!(
        matches!(&settings.migrations, Migrations::Directory(path) if path.ends_with("from_environment"))
    );
}

#[tokio::test]
async fn embedded_files_are_read_as_sqlx_reads_a_directory() {
    let sources = FILES
        .iter()
        .fold(TestSources::with_url(), |sources, (name, sql)| {
            sources.file(&format!("sql/{name}"), sql)
        });
    let embedded = sources
        .resolve(&Settings::new().embedded_migrations("sql", FILES))
        .unwrap();
    let directory = sources.resolve(&Settings::new().migrations("sql")).unwrap();
    let (embedded, directory) = (
        embedded.migrator().await.unwrap().unwrap(),
        directory.migrator().await.unwrap().unwrap(),
    );

    let facts = |migrator: &Migrator| {
        let fact = |one: &sqlx::migrate::Migration| {
            (
                one.version,
                one.description.to_string(),
                one.migration_type,
                one.sql.as_str().to_owned(),
                one.checksum.to_vec(),
                one.no_tx,
            )
        };
        migrator.iter().map(fact).collect::<Vec<_>>()
    };
    assert_eq!(facts(&embedded), facts(&directory));

    let named: Vec<_> = facts(&embedded)
        .into_iter()
        .map(|fact| (fact.0, fact.1, fact.2, fact.5))
        .collect();
    assert_eq!(
        named,
        [
            (1, "bands".to_owned(), MigrationType::Simple, false),
            (2, "more bands".to_owned(), MigrationType::Simple, true),
            (
                10,
                "concerts".to_owned(),
                MigrationType::ReversibleUp,
                false
            ),
            (
                10,
                "concerts".to_owned(),
                MigrationType::ReversibleDown,
                false
            ),
        ]
    );
}

#[tokio::test]
async fn no_migrations_and_a_migrator() {
    let sources = TestSources::with_url();
    assert!(sources.settings().migrator().await.unwrap().is_none());
    let owned = Migrator::with_migrations(vec![]);
    assert!(
        sources
            .resolve(&Settings::new().migrator(owned))
            .unwrap()
            .migrator()
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn an_error_names_the_file() {
    let sources = TestSources::with_url();
    let error = |settings: Settings| {
        let settings = sources.resolve(&settings).unwrap();
        async move { settings.migrator().await.unwrap_err().to_string() }
    };
    let embedded =
        error(Settings::new().embedded_migrations("sql", &[("first_bands.sql", "")])).await;
    assert!(
        embedded.contains("engine `default`: migrations = \"sql\", 1 file embedded (builder, "),
        "{embedded}"
    );
    assert!(embedded.contains("first_bands.sql"), "{embedded}");

    let missing = error(Settings::new().migrations("nowhere")).await;
    assert!(
        missing.contains("nowhere") && missing.contains("No such file"),
        "{missing}"
    );
}
