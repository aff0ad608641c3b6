//! The layers: each folder uses only those below it, and files do not use each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::imports::{Imports, imports, is_contents};
use crate::source::Source;

/// The folders and files at the top of `runtime/src`, from the highest to the lowest.
pub const RUNTIME: &[&str] = &[
    "lib",
    "guide",
    "web",
    "lifecycle",
    "testing",
    "finder",
    "engine",
    "pool",
    "backend",
    "error",
    "dialect",
    "settings",
    "background",
    "logging",
    "lock",
];

/// The files and folders of `macros/src`: the stages from the last to the first, then the files
/// that all stages use.
pub const MACROS: &[&str] = &[
    "lib",
    "transactional",
    "expand",
    "fallback",
    "setters",
    "check",
    "function",
    "position",
    "settings",
    "args",
    "pattern",
    "report",
    "table",
];

/// A violation of the layers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Breach {
    /// A file uses one of a higher layer.
    LooksUp {
        /// The file.
        from: PathBuf,
        /// The file above it.
        to: PathBuf,
        /// The path in the source.
        path: String,
    },
    /// Files use each other in a circle.
    Circle(Vec<PathBuf>),
    /// A `mod.rs` is more than a table of contents.
    MoreThanContents(PathBuf),
    /// A folder or file is in no layer.
    NoLayer(PathBuf),
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LooksUp { from, to, path } => write!(
                f,
                "{} looks up to {} ({path})",
                from.display(),
                to.display()
            ),
            Self::Circle(files) => {
                let files: Vec<String> = files
                    .iter()
                    .map(|file| file.display().to_string())
                    .collect();
                write!(f, "{} use each other", files.join(" and "))
            }
            Self::MoreThanContents(file) => {
                write!(f, "{} holds more than contents", file.display())
            }
            Self::NoLayer(file) => write!(f, "{} is in no layer", file.display()),
        }
    }
}

/// All breaches of a crate, in a fixed order.
pub fn breaches(source: &Source, layers: &[&str]) -> Vec<Breach> {
    let imports = imports(source);
    let mut breaches = BTreeSet::new();
    for (_, module) in source.modules() {
        if layer(&module.file, layers).is_none() {
            breaches.insert(Breach::NoLayer(module.file.clone()));
        }
        if module.file.ends_with("mod.rs") && !is_contents(module) {
            breaches.insert(Breach::MoreThanContents(module.file.clone()));
        }
    }
    for (from, uses) in &imports {
        for (to, path) in uses {
            if layer(to, layers) < layer(from, layers) {
                breaches.insert(Breach::LooksUp {
                    from: from.clone(),
                    to: to.clone(),
                    path: path.clone(),
                });
            }
        }
    }
    breaches.extend(circles(&imports).into_iter().map(Breach::Circle));
    breaches.into_iter().collect()
}

/// The index of a file's layer, from the top.
fn layer(file: &Path, layers: &[&str]) -> Option<usize> {
    let top = file.components().next()?;
    let top = Path::new(&top).file_stem()?;
    layers.iter().position(|layer| top == *layer)
}

/// The shortest circle of each file that leads back to itself, without duplicates.
fn circles(imports: &Imports) -> BTreeSet<Vec<PathBuf>> {
    let mut circles = BTreeSet::new();
    for start in imports.keys() {
        if let Some(mut circle) = circle_of(imports, start) {
            // A circle begins with its first file in alphabetical order, whichever file it was
            // found from.
            let first = circle.iter().enumerate().min_by_key(|(_, file)| *file);
            let first = first.map_or(0, |(index, _)| index);
            circle.rotate_left(first);
            circles.insert(circle);
        }
    }
    circles
}

fn circle_of(imports: &Imports, start: &PathBuf) -> Option<Vec<PathBuf>> {
    let mut before: BTreeMap<&PathBuf, &PathBuf> = BTreeMap::new();
    let mut next: Vec<&PathBuf> = vec![start];
    while !next.is_empty() {
        let mut further = vec![];
        for file in next {
            for used in imports.get(file).into_iter().flat_map(BTreeMap::keys) {
                if used == start {
                    let mut circle = vec![file.clone()];
                    let mut at = file;
                    while at != start {
                        at = before[at];
                        circle.push(at.clone());
                    }
                    circle.reverse();
                    return Some(circle);
                }
                if !before.contains_key(used) {
                    before.insert(used, file);
                    further.push(used);
                }
            }
        }
        next = further;
    }
    None
}
