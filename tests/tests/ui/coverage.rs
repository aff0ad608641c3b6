//! A coverage report counts the same lines with the attribute as without it.
//!
//! The compiler lists the counted regions in its MIR output. A report itself would need LLVM's tools in the compiler's version.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::project::Project;
use crate::twins::bare;

#[test]
fn the_lines_of_a_body_are_counted_as_without_the_attribute() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("ui/coverage/bands.rs");
    let source = fs::read_to_string(source).expect("the file is readable");
    let with = counted_lines("with", &source);
    let without = counted_lines("without", &bare(&source));
    assert!(without.len() >= 15, "{without:?}");
    assert_eq!(with, without);
}

/// The first and the last line of each counted region.
fn counted_lines(side: &str, source: &str) -> BTreeSet<(u32, u32)> {
    let project = Project::new("coverage");
    let file = project.file(&format!("{side}.rs"), source);
    let mir = file.with_extension("mir");
    let rustc = Path::new(env!("CARGO")).with_file_name("rustc");
    let (poolhouse, dependencies) = built();
    let output = Command::new(rustc)
        .args(["--edition", "2024", "--crate-type", "lib", "--crate-name", "bands"])
        .args(["-C", "instrument-coverage", "--emit"])
        .arg(format!("mir={}", mir.display()))
        .arg("--extern")
        .arg(format!("poolhouse={}", poolhouse.display()))
        .arg("-L")
        .arg(format!("dependency={}", dependencies.display()))
        .arg(&file)
        // Cargo sets these for a crate.
        .env("CARGO_PKG_NAME", "bands")
        .env("CARGO_MANIFEST_DIR", env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the compiler beside cargo runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let mir = fs::read_to_string(mir).expect("the compiler has written it");
    let regions = mir
        .lines()
        .filter(|line| line.trim_start().starts_with("coverage Code"));
    regions
        .map(|region| lines_of(region).expect("a region has a place"))
        .collect()
}

/// The lines of a region: 12 and 13 of `coverage Code { bcb: bcb0 } => bands.rs:12:5: 13:9 (#0);`.
fn lines_of(region: &str) -> Option<(u32, u32)> {
    let (_, rest) = region.rsplit_once(".rs:")?;
    let (first, rest) = rest.split_once(':')?;
    let (_, rest) = rest.split_once(": ")?;
    let (last, _) = rest.split_once(':')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// The latest build of poolhouse, and the folder of its dependencies, which is this test's folder.
fn built() -> (PathBuf, PathBuf) {
    let this = env::current_exe().expect("this program has a path");
    let folder = this.parent().expect("it is in a folder").to_owned();
    let files = fs::read_dir(&folder).expect("the folder is readable");
    let library = files
        .filter_map(|file| Some(file.ok()?.path()))
        .filter(|path| {
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            stem.is_some_and(|stem| stem.starts_with("libpoolhouse-"))
                && path
                    .extension()
                    .is_some_and(|extension| extension == "rlib")
        })
        .max_by_key(|path| path.metadata().and_then(|file| file.modified()).ok());
    (library.expect("poolhouse is built"), folder)
}
