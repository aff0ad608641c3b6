//! Checks of poolhouse's own source, which its tests run: which file uses which, which words are written, which names are
//! given, what is public.
//!
//! The checks read the source with `syn` and compile none of it. What a macro expands to is not seen; its arguments are.

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
