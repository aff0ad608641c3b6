//! The vocabulary: words that the project has replaced by the terms of its field.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use proc_macro2::{TokenStream, TokenTree};

/// Words that must not occur in names, comments, documents, logs and errors, each with its replacement.
const EVERYWHERE: &[(&[&str], &str)] = &[
    (&["yard", "yards"], "shared state"),
    (&["house", "houses"], "running engines"),
    (&["seat", "seats"], "checkout"),
    (&["desk", "desks"], "the scope's connection"),
    (&["door", "doors"], "kept connection"),
    (&["hurry", "hurries", "hurried"], "force"),
    (&["mend", "mends", "mended", "mending"], "recover"),
    (&["ground", "grounds"], "test server"),
];

/// Words that only names must not contain.
const NAMES: &[(&[&str], &str)] = &[
    (&["place", "places"], "slot, location or index"),
    (&["way", "ways"], "statement route"),
    (&["told"], "diagnosis"),
    (&["early"], "buffered log"),
    (&["stock", "stocks"], "spare clones"),
    (&["site", "sites"], "test server"),
    (&["lent"], "kept connection"),
    (&["card", "cards"], "record"),
];

/// Names of other libraries that contain such a word.
const OTHERS: &[&str] = &["call_site", "mixed_site", "Parking_lot"];

/// Names that are refused as a whole and allowed as a part of others.
const ALONE: &[(&str, &str)] = &[("Keep", "Retention"), ("Words", "Diagnosis")];

/// An occurrence of a refused word.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, relative to the repository.
    pub file: PathBuf,
    /// The word.
    pub word: String,
    /// The replacement.
    pub instead: &'static str,
    /// The line, from 1; 0 for the name of the file.
    pub line: usize,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            word,
            instead,
            line,
        } = self;
        write!(f, "{}:{line}: `{word}`: write {instead}", file.display())
    }
}

/// Finds the refused words in a file and in its name.
///
/// # Errors
///
/// When a file cannot be read, or ends in `.rs` and is not Rust.
pub fn findings(root: &Path, file: &Path) -> anyhow::Result<BTreeSet<Finding>> {
    let shown = root.join(file);
    let text = std::fs::read_to_string(&shown).with_context(|| shown.display().to_string())?;
    let mut findings = BTreeSet::new();
    let mut add = |word: &str, instead, line| {
        findings.insert(Finding {
            file: file.to_owned(),
            word: word.to_owned(),
            instead,
            line,
        });
    };
    for part in pieces(&file.with_extension("").to_string_lossy()) {
        if let Some(instead) = replaced(&part, EVERYWHERE).or_else(|| replaced(&part, NAMES)) {
            add(&part, instead, 0);
        }
    }
    for (index, line) in text.lines().enumerate() {
        for piece in pieces(line) {
            if let Some(instead) = replaced(&piece, EVERYWHERE) {
                add(&piece, instead, index + 1);
            }
        }
    }
    if file.extension().is_some_and(|extension| extension == "rs") {
        let tokens: TokenStream = text
            .parse()
            .map_err(|error| anyhow::anyhow!("{}: {error}", shown.display()))?;
        names(tokens, &mut |name, line| {
            if let Some((_, instead)) = ALONE.iter().find(|(alone, _)| *alone == name) {
                add(name, instead, line);
            }
            if OTHERS.contains(&name) {
                return;
            }
            for piece in pieces(name) {
                if let Some(instead) = replaced(&piece, NAMES) {
                    add(&piece, instead, line);
                }
            }
        });
    }
    Ok(findings)
}

fn replaced(word: &str, table: &[(&[&str], &'static str)]) -> Option<&'static str> {
    let row = table.iter().find(|(words, _)| words.contains(&word))?;
    Some(row.1)
}

/// Every name in tokens, with its line.
fn names(tokens: TokenStream, each: &mut impl FnMut(&str, usize)) {
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => each(&ident.to_string(), ident.span().start().line),
            TokenTree::Group(group) => names(group.stream(), each),
            _ => {}
        }
    }
}

/// The words of a text in lower case; `max_size` and `MaxSize` are two words.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut before_is_lower = false;
    for c in text.chars() {
        if !c.is_alphabetic() || (c.is_uppercase() && before_is_lower) {
            pieces.push(String::new());
        }
        if c.is_alphabetic()
            && let Some(piece) = pieces.last_mut()
        {
            piece.extend(c.to_lowercase());
        }
        before_is_lower = c.is_lowercase();
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}
