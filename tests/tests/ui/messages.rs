//! Each file in `tests/ui/<theme>/` has mistakes; a file beside it has the expected messages.
//!
//! A line with a mistake ends in `//~`, with one `~` more for each further mistake on it. So the source shows that no mistake
//! hides another, and that none causes a second error.
//!
//! A file that begins with `//! Lines alone` has messages with paths in them; only their lines are compared.
//!
//! `POOLHOUSE_UI=update` rewrites the expected texts. Read them before you commit them: is the message at the right token, and
//! does it say what to write instead?

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::project::{Diagnostic, Project};

const THEMES: [&str; 7] = [
    "settings",
    "position",
    "function",
    "parameters",
    "returns",
    "test",
    "transactional",
];

/// The beginning of a file whose messages depend on its path.
const LINES_ALONE: &str = "//! Lines alone";

#[test]
fn every_mistake_is_explained_at_its_own_token_and_alone() {
    let update = std::env::var("POOLHOUSE_UI").is_ok_and(|wish| wish == "update");
    let mut project = Project::new("messages");
    let cases = cases();
    assert!(cases.len() > 15, "only {} cases", cases.len());
    for (name, path) in &cases {
        project.program(name, path);
    }
    let said = project.run("check");
    let mut wrong = Vec::new();
    for (name, path) in &cases {
        let said = said.get(name).map_or(&[][..], Vec::as_slice);
        let source = fs::read_to_string(path).expect("a case is readable");
        if errors(said) != marks(&source) {
            wrong.push(format!(
                "{name}: errors on the lines {:?}, but the marks `//~` are on {:?}\n{}",
                errors(said),
                marks(&source),
                text(said, path)
            ));
            continue;
        }
        if source.starts_with(LINES_ALONE) {
            continue;
        }
        let expected = path.with_extension("stderr");
        let text = text(said, path);
        if fs::read_to_string(&expected).is_ok_and(|old| old == text) {
            continue;
        }
        if update {
            fs::write(&expected, &text).expect("an expected text is writable");
        }
        wrong.push(format!("{name} is not as {}:\n{text}", expected.display()));
    }
    assert!(
        wrong.is_empty(),
        "`POOLHOUSE_UI=update` rewrites the expected texts.\n{}",
        wrong.join("\n")
    );
}

#[test]
fn the_messages_that_the_documentation_shows_are_those_of_the_compiler() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs/mistakes.md");
    let page = fs::read_to_string(page).expect("the page is there");
    let expected: String = cases()
        .iter()
        .map(|(_, path)| fs::read_to_string(path.with_extension("stderr")).unwrap_or_default())
        .collect();
    // Two back ticks delimit a text with back ticks in it.
    let shown: Vec<&str> = page.split("``").skip(1).step_by(2).map(str::trim).collect();
    assert_eq!(shown.len(), 5);
    for message in shown {
        assert!(expected.contains(&format!(": {message}\n")), "{message}");
    }
}

/// All cases: the name of each, which its program has too, and its file.
fn cases() -> Vec<(String, PathBuf)> {
    let mut cases = Vec::new();
    for theme in THEMES {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("ui").join(theme);
        for entry in fs::read_dir(folder).expect("every theme has a folder") {
            let path = entry.expect("the folder is readable").path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                let stem = path
                    .file_stem()
                    .and_then(|stem| stem.to_str())
                    .expect("a case has a name");
                cases.push((format!("{theme}-{stem}"), path));
            }
        }
    }
    cases.sort();
    cases
}

/// The number of errors on each line.
fn errors(said: &[Diagnostic]) -> BTreeMap<u64, usize> {
    let mut lines = BTreeMap::new();
    for error in said.iter().filter(|diagnostic| diagnostic.is_error()) {
        // An error without a location counts for line 0, which has no mark.
        *lines
            .entry(error.lines.first().copied().unwrap_or_default())
            .or_default() += 1;
    }
    lines
}

/// The number of marked mistakes on each line.
fn marks(source: &str) -> BTreeMap<u64, usize> {
    (1..)
        .zip(source.lines())
        .filter_map(|(number, line)| Some((number, line.split_once("//~")?.1.len() + 1)))
        .collect()
}

/// The messages as a user sees them, without local folders and foreign source lines.
fn text(said: &[Diagnostic], case: &Path) -> String {
    let folder = case.parent().expect("a case is in the folder of its theme");
    let runtime = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("runtime");
    let package = Project::folder("messages");
    let mut text = String::new();
    for Diagnostic { rendered, .. } in said {
        let rendered = rendered
            .replace(&format!("{}/", folder.display()), "")
            .replace(&format!("{}/", package.display()), "")
            .replace(&runtime.display().to_string(), RUNTIME);
        text.push_str(&without_foreign_lines(&rendered));
    }
    text
}

/// The replacement for the folder of the runtime crate.
const RUNTIME: &str = "poolhouse";

/// Removes source lines of the runtime crate, whose numbers change, and their margin.
fn without_foreign_lines(rendered: &str) -> String {
    let mut kept = Vec::new();
    let mut is_foreign = false;
    for line in rendered.lines() {
        let words = line.trim_start();
        if let Some(location) = words.strip_prefix("--> ") {
            is_foreign = location.starts_with(RUNTIME);
            kept.push(if is_foreign { file(line) } else { line });
        } else {
            // A new note or suggestion, which may be about the case again.
            is_foreign &= line.starts_with([' ', '.']) || digits(words) > 0;
            if !(is_foreign && is_source(words)) {
                kept.push(line);
            }
        }
    }
    let numbers = kept.iter().map(|line| digits(line.trim_start()));
    let room = numbers.max().unwrap_or_default();
    let taken = kept
        .iter()
        .find_map(|line| line.find("--> "))
        .unwrap_or(room);
    let margin = " ".repeat(taken.saturating_sub(room));
    let mut text = String::new();
    for line in kept {
        text.push_str(line.strip_prefix(&margin).unwrap_or(line));
        text.push('\n');
    }
    text
}

/// `--> poolhouse/src/lib.rs:20:1` without the line and the column.
fn file(location: &str) -> &str {
    location
        .split_once(".rs:")
        .map_or(location, |(stem, _)| &location[..stem.len() + 3])
}

/// Whether a line of a message shows source: `20 | impl …`, `   | ^^^^`, `...`.
fn is_source(words: &str) -> bool {
    words.starts_with('|') || words == "..." || digits(words) > 0
}

/// The number of digits at the beginning of a source line.
fn digits(words: &str) -> usize {
    let rest = words.trim_start_matches(|letter: char| letter.is_ascii_digit());
    if rest.trim_start().starts_with(['|', '-', '+', '~']) {
        words.len() - rest.len()
    } else {
        0
    }
}
