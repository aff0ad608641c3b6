//! Code that only tests need is behind the feature `testing`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::project::Project;

/// Strings of leases, templates and retention, which no production binary contains.
const OF_TESTS: &[&str] = &[
    "pg_try_advisory_lock(hashtextextended",
    " ALLOW_CONNECTIONS false",
    "; COMMENT ON DATABASE ",
    "RELEASE_LOCK('{key}')",
    "poolhouse_marks",
    "FROM mysql.proc WHERE db",
    "POOLHOUSE_KEEP",
];

fn folder_of_tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("runtime/src/testing")
}

/// The text of all sources below a folder.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &sources(&path);
        } else {
            text += &fs::read_to_string(path).unwrap();
        }
    }
    text
}

#[test]
fn a_program_holds_nothing_of_tests() {
    let mut project = Project::with_features("production", "poolhouse", &["postgres", "mysql"]);
    let path = project.file(
        "main.rs",
        "#[poolhouse::with_pool]\n\
         #[tokio::main]\n\
         async fn main(db: poolhouse::PgEngine, #[pool(engine = \"other\")] other: poolhouse::MySqlEngine) {\n    \
             let _ = (db.acquire().await, other.acquire().await);\n\
         }\n",
    );
    project.program("production", &path);
    let binary = project.build("production");
    // A string that is no longer in the sources would never be found.
    let sources = sources(&folder_of_tests());
    for word in OF_TESTS {
        assert!(sources.contains(word), "{word:?}");
        let word = word.split('{').next().unwrap();
        let found = binary
            .windows(word.len())
            .any(|part| part == word.as_bytes());
        assert!(!found, "{word:?} is in the binary");
    }
}

/// The packages of a build with these features.
fn packages(features: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--prefix=none",
            "--edges=normal",
            "--format={p}",
        ])
        .args(["--package=poolhouse", "--features", features])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(""))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let lines = String::from_utf8_lossy(&output.stdout);
    let names = lines.lines().filter_map(|line| line.split(' ').next());
    names.map(str::to_owned).collect()
}

#[test]
fn a_program_has_no_package_that_only_tests_need() {
    let production = packages("postgres,mysql,sqlite,any,metrics");
    assert!(!production.contains(&"nix".to_owned()), "{production:?}");
    assert!(packages("postgres,testing").contains(&"nix".to_owned()));
}

#[test]
fn without_the_feature_a_test_is_one_error_that_says_what_to_write() {
    let mut project = Project::with_features("untested", "poolhouse", &["postgres"]);
    let path = project.file(
        "main.rs",
        "fn main() {}\n\n\
         async fn bands(_: poolhouse::PgEngine) {}\n\n\
         #[poolhouse::with_pool(fixtures(bands))]\n\
         #[tokio::test]\n\
         async fn counts(db: poolhouse::PgEngine) {\n    let _ = db.acquire().await;\n}\n\n\
         #[poolhouse::with_pool]\n\
         #[test]\n\
         async fn counts_again(db: poolhouse::PgEngine) {\n    let _ = db.acquire().await;\n}\n",
    );
    project.program("untested", &path);
    let said = project.run_with(&["check", "--tests", "--keep-going"]);
    let errors: Vec<&str> = said["untested"]
        .iter()
        .filter(|said| said.is_error() && !said.rendered.contains("aborting"))
        .map(|said| &*said.rendered)
        .collect();
    // One for each of the two tests.
    assert_eq!(errors.len(), 2, "{}", errors.concat());
    for error in errors {
        assert!(
            error.contains(r#"features = ["testing"] }` below `[dev-dependencies]`"#)
                && error.contains("#[poolhouse::with_pool"),
            "{error}"
        );
    }
}
