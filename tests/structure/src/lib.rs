//! Checks of poolhouse's own source, run as tests: imports, vocabulary, names, public API.
//!
//! The checks parse the source with `syn` and do not compile it. They see the arguments of a macro but not its expansion.

pub mod api;
pub mod imports;
pub mod layers;
pub mod names;
pub mod source;
pub mod words;

use std::path::{Path, PathBuf};

/// A directory of the repository.
///
/// # Panics
///
/// When this crate is not in `tests/structure` of a repository.
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("this crate is two directories below the repository's own")
        .to_owned()
}
