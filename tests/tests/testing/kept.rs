//! The kept databases of failed tests: each has its own, whatever they have in common.

use std::env;
use std::path::Path;
use std::process::{Command, Output};

use sqlx::Connection;

use crate::drivers::of_user;
use crate::minimal::said;
use crate::scenarios::FATE;

/// Tests that a driver runs again, in processes with a temporary folder of their own.
mod writes {
    use std::env;

    use poolhouse::{SqliteEngine, with_pool};
    use rstest::rstest;

    use crate::scenarios::FATE;

    /// Two cases with two databases each.
    #[with_pool]
    #[rstest]
    #[case::first("first")]
    #[case::second("second")]
    #[tokio::test]
    async fn on_two(
        #[case] case: &str,
        #[pool] db: SqliteEngine,
        #[pool(engine = "reports", migrations = "migrations")] reports: SqliteEngine,
    ) {
        for (engine, db) in [("default", db), ("reports", reports)] {
            sqlx::query("INSERT INTO band (name) VALUES (?)")
                .bind(format!("{case} {engine}"))
                .execute(&db)
                .await
                .unwrap();
        }
        assert_ne!(
            env::var(FATE).as_deref(),
            Ok("fail"),
            "as the driver wishes"
        );
    }
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env::current_exe().unwrap())
        .args(arguments)
        .env("TMPDIR", folder)
        .env(FATE, "fail")
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap()
}

/// The bands in all kept databases, sorted.
async fn bands(output: &Output) -> Vec<String> {
    let said = said(output);
    let kept = said
        .lines()
        .filter_map(|line| line.split_once("its database is kept: "));
    let mut bands = Vec::new();
    for (_, url) in kept {
        let mut connection = sqlx::SqliteConnection::connect(url).await.unwrap();
        let found: Vec<String> = sqlx::query_scalar("SELECT name FROM band")
            .fetch_all(&mut connection)
            .await
            .unwrap();
        bands.extend(found);
        connection.close().await.unwrap();
    }
    bands.sort();
    bands
}

const ALL: [&str; 4] = [
    "first default",
    "first reports",
    "second default",
    "second reports",
];

/// The names of the kept files, sorted.
fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(of_user(folder).join("sqlite/kept")).unwrap();
    let mut files: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn the_cases_and_engines_of_a_test_do_not_replace_each_other() {
    // libtest runs the tests of one thread on the main thread, where the case has no name.
    for threads in ["--test-threads=2", "--test-threads=1"] {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let output = run(folder.path(), &["kept::writes::", threads]);
            assert_eq!(bands(&output).await, ALL, "{threads}: {}", said(&output));
            // The second run replaces the files of the first.
            let files = files(folder.path());
            assert_eq!(files.len(), 4, "{threads}: {files:?}");
        }
    }
}

#[test]
fn a_database_that_cannot_be_kept_is_not_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = of_user(folder.path()).join("sqlite");
    std::fs::create_dir_all(&sqlite).unwrap();
    std::fs::write(sqlite.join("kept"), "not a folder").unwrap();
    let output = run(folder.path(), &["kept::writes::"]);
    let said = said(&output);
    let words = format!(
        "failed; its database cannot be kept: the folder {}: ",
        sqlite.join("kept").display()
    );
    assert_eq!(said.matches(&words).count(), 4, "{said}");
    assert!(!said.contains("is kept"), "{said}");
}

#[tokio::test]
async fn a_temporary_folder_may_have_any_name() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("100%25 of? #1");
    std::fs::create_dir(&folder).unwrap();
    let output = run(&folder, &["kept::writes::"]);
    assert_eq!(bands(&output).await, ALL, "{}", said(&output));
}

#[test]
fn a_kept_file_has_the_names_of_its_case_and_its_engine() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &["kept::writes::", "--test-threads=2"]);
    let expected = [
        "case_1_first",
        "case_1_first@reports",
        "case_2_second",
        "case_2_second@reports",
    ]
    .map(|of| format!("testing.kept.writes.on_two.{of}.db"));
    assert_eq!(files(folder.path()), expected);
}
