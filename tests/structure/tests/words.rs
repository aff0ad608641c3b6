//! Checks that the refused words of `src/words.rs` do not occur.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use poolhouse_structure::repository;
use poolhouse_structure::words::{Finding, findings};

/// The folder whose files have to contain the words.
const EXEMPT: &str = "tests/structure/";

#[test]
fn no_replaced_word_is_written() {
    let root = repository();
    let mut found = BTreeSet::new();
    for file in files(&root) {
        found.extend(findings(&root, &file).unwrap());
    }
    let found: Vec<String> = found.iter().map(Finding::to_string).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The text files that are under version control: source, documents, scripts and data.
fn files(root: &Path) -> Vec<PathBuf> {
    let listed = Command::new("git")
        .arg("-C")
        .arg(root)
        .arg("ls-files")
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let files: Vec<PathBuf> = listed
        .lines()
        .filter(|file| !file.starts_with(EXEMPT) && is_text(&root.join(file)))
        .map(PathBuf::from)
        .collect();
    assert!(files.len() > 100, "{} files", files.len());
    for file in ["tests/run", "docs/grafana.json", "CHANGELOG.md"] {
        assert!(
            files.iter().any(|listed| listed == Path::new(file)),
            "{file}"
        );
    }
    files
}

/// Whether a path is a file with text. A link to a folder is none; the folder's files are listed themselves.
fn is_text(path: &Path) -> bool {
    path.is_file() && std::fs::read(path).is_ok_and(|content| std::str::from_utf8(&content).is_ok())
}

/// The findings in a file with this name and content: line and word.
fn words(name: &str, content: &str) -> Vec<(usize, String)> {
    let directory = tempfile::tempdir().unwrap();
    let file = Path::new(name);
    let path = directory.path().join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
    let found = findings(directory.path(), file).unwrap();
    found
        .into_iter()
        .map(|finding| (finding.line, finding.word))
        .collect()
}

#[test]
fn words_without_another_use_are_found_in_names_comments_texts_and_documents() {
    for content in [
        "struct Yard;",
        "struct PoolYard;",
        "fn of_yard() {}",
        "// The yard of a pool.\n",
        "/// The yard of a pool.\nstruct Pool;",
        "const TEXT: &str = \"the yard is closed\";",
        "tracing::info!(yard = 1);",
    ] {
        let found = words("pool.rs", content);
        assert_eq!(found.len(), 1, "{content}");
        assert_eq!(found[0].1, "yard", "{content}");
    }
    assert_eq!(
        words("guide.md", "\nThe *house* starts."),
        [(2, "house".to_owned())]
    );
    assert_eq!(words("pool/yard.rs", "")[0], (0, "yard".to_owned()));
}

#[test]
fn words_that_prose_may_use_are_found_in_names_alone() {
    assert_eq!(
        words("pool.rs", "fn free_place() {}"),
        [(1, "place".to_owned())]
    );
    assert_eq!(
        words("pool.rs", "enum Way { Direct }"),
        [(1, "way".to_owned())]
    );
    assert_eq!(words("pool/place.rs", ""), [(0, "place".to_owned())]);
    assert_eq!(words("pool.rs", "// On the way, in one place.\n"), []);
    assert_eq!(words("pool.rs", "const TEXT: &str = \"in one place\";"), []);
    assert_eq!(words("guide.md", "In one place."), []);
}

#[test]
fn other_words_are_not_found() {
    for content in [
        "//! poolhouse, in the background, recommended.\n",
        "fn f() { Span::call_site(); mem::replace(); always(); }",
        "fn keep() {}",
        "struct Poolhouse;",
    ] {
        assert_eq!(words("pool.rs", content), [], "{content}");
    }
    assert_eq!(words("keep.rs", "struct Keep;"), [(1, "Keep".to_owned())]);
}
