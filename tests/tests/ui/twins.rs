//! The messages about a file are the same with and without the attribute.
//!
//! Each file in `tests/ui/body/` and `tests/ui/lints/` is compiled as it is and without `#[with_pool]`, `#[transactional]`
//! and `#[pool]`. So a mistake in a body is reported as in any other function, and generated code has no lint of its own.

use std::fs;
use std::path::Path;

use crate::project::{Diagnostic, Project};

#[test]
fn a_mistake_in_the_body_is_reported_word_for_word_as_without_the_attribute() {
    for Twins {
        name,
        with,
        without,
    } in twins("body", "check")
    {
        let (with, without) = (texts(&with), texts(&without));
        assert!(
            with == without,
            "with the attribute, {name}:\n{with}\nwithout it:\n{without}"
        );
    }
}

#[test]
fn the_attribute_adds_no_lint() {
    for Twins {
        name,
        with,
        without,
    } in twins("lints", "clippy")
    {
        // The attribute makes two functions of one. An incremental build repeats some lints about the signature for the second one;
        // any other build leaves out a message that it has already shown word for word.
        let mut expected: Vec<_> = without.iter().chain(&without).collect();
        let mut added = Vec::new();
        for lint in with {
            let same =
                |other: &&Diagnostic| (&other.code, &other.lines) == (&lint.code, &lint.lines);
            match expected.iter().position(same) {
                Some(index) => drop(expected.swap_remove(index)),
                None => added.push(lint),
            }
        }
        assert!(added.is_empty(), "in {name}:\n{}", texts(&added));
    }
}

/// The messages about a file and about its twin without the attribute.
struct Twins {
    name: String,
    with: Vec<Diagnostic>,
    without: Vec<Diagnostic>,
}

/// Runs `cargo check` or `cargo clippy` on each file of a folder and on its twin.
fn twins(folder: &str, command: &str) -> Vec<Twins> {
    let mut project = Project::new(folder);
    let mut names = Vec::new();
    let files = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("ui")
        .join(folder);
    for entry in fs::read_dir(files).expect("the folder is there") {
        let path = entry.expect("the folder is readable").path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let name = stem.expect("a file has a name").to_owned();
        let source = fs::read_to_string(&path).expect("a file is readable");
        for (side, source) in [("with", &source), ("without", &bare(&source))] {
            // The program's own `main` is in another file, so that a function called `main` is like any other.
            project.file(&format!("{side}/{name}.rs"), source);
            let program = format!("//! A program.\n\nmod {name};\n\nfn main() {{}}\n");
            let program = project.file(&format!("{side}/main_of_{name}.rs"), &program);
            project.program(&format!("{side}-{name}"), &program);
        }
        names.push(name);
    }
    let mut said = project.run(command);
    let mut of = |side: &str, name: &str| {
        let said = said.remove(&format!("{side}-{name}")).unwrap_or_default();
        assert!(!said.is_empty(), "nothing is said about {side}/{name}.rs");
        said
    };
    let twins = names.into_iter().map(|name| Twins {
        with: of("with", &name),
        without: of("without", &name),
        name,
    });
    twins.collect()
}

/// The source without the attributes. Comments and spaces replace them, so that locations stay the same.
pub(crate) fn bare(source: &str) -> String {
    let mut bare = String::new();
    for line in source.lines() {
        let line_begins = |attribute: &str| line.trim_start().starts_with(attribute);
        if line_begins("#[poolhouse::with_pool") || line_begins("#[poolhouse::transactional") {
            bare.push_str("//");
        } else {
            bare.push_str(&without_marks(line));
        }
        bare.push('\n');
    }
    bare
}

const MARK: &str = "#[pool] ";

fn without_marks(line: &str) -> String {
    line.replace(MARK, &" ".repeat(MARK.len()))
}

/// The messages that a user sees, sorted and without `#[pool]`.
///
/// They are sorted because the compiler checks one function after the other, and the attribute makes two of one. They show
/// source lines, in which the other side has no `#[pool]`.
fn texts(said: &[Diagnostic]) -> String {
    let text = |said: &Diagnostic| {
        let text = without_marks(&said.rendered);
        text.replace("without/", "").replace("with/", "")
    };
    let mut texts: Vec<_> = said.iter().map(text).collect();
    texts.sort();
    texts.concat()
}
