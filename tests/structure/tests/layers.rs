//! Checks the layers of both crates, and tests the check on crates that violate them.

use std::path::Path;

use poolhouse_structure::layers::{self, breaches};
use poolhouse_structure::repository;
use poolhouse_structure::source::Source;

#[test]
fn every_file_uses_only_those_below_it() {
    let mut found = vec![];
    for (directory, layers) in [
        ("runtime/src", layers::RUNTIME),
        ("macros/src", layers::MACROS),
    ] {
        let source = Source::read(&repository().join(directory)).unwrap();
        assert!(source.modules().count() > 10, "{directory}");
        let breaches = breaches(&source, layers);
        found.extend(
            breaches
                .iter()
                .map(|breach| format!("{directory}: {breach}")),
        );
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The breaches of a crate with these files and the layers `high`, `middle` and `low`.
fn breaches_of(files: &[(&str, &str)]) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let declared = "mod high; mod middle; mod low;";
    for (name, content) in [
        ("lib.rs", declared),
        ("high.rs", ""),
        ("middle.rs", ""),
        ("low.rs", ""),
    ] {
        write(directory.path(), name, content);
    }
    for (name, content) in files {
        // A folder replaces the file.
        if let Some((folder, _)) = name.split_once('/') {
            let _ = std::fs::remove_file(directory.path().join(folder).with_extension("rs"));
        }
        write(directory.path(), name, content);
    }
    let source = Source::read(directory.path()).unwrap();
    let breaches = breaches(&source, &["lib", "high", "middle", "low"]);
    breaches.iter().map(ToString::to_string).collect()
}

fn write(directory: &Path, name: &str, content: &str) {
    let path = directory.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

const HIGH: (&str, &str) = (
    "high.rs",
    "pub struct High; pub fn high() {} macro_rules! of_high { () => {} }",
);

#[test]
fn a_use_that_looks_down_is_no_breach() {
    assert_eq!(
        breaches_of(&[
            ("low.rs", "pub struct Low;"),
            (
                "high.rs",
                "use crate::low::Low; use super::middle; fn f(_: Low) { crate::low::f() }"
            ),
        ]),
        [""; 0]
    );
}

#[test]
fn each_form_of_a_use_that_looks_up_is_found() {
    for content in [
        "use crate::high::High;",
        "use super::high::{self, High as Other};",
        "use crate::{high::*};",
        "use crate::high; fn f() { high::high() }",
        "fn f() { use crate::high::high; high() }",
        "fn f() { crate::high::high() }",
        "fn f() { super::high::high() }",
        "fn f(_: crate::high::High) {}",
        "struct S { high: Vec<crate::high::High> }",
        "impl Clone for crate::high::High { fn clone(&self) -> Self { loop {} } }",
        "fn f() { assert_eq!(1, [crate::high::high()]) }",
        "macro_rules! m { () => { crate::high::high() } }",
        "#[cfg(not(test))] use crate::high::High;",
        "#[cfg(any(test, feature = \"low\"))] use crate::high::High;",
        "mod inner { fn f() { super::super::high::high() } }",
    ] {
        let found = breaches_of(&[HIGH, ("low.rs", content)]);
        assert_eq!(found.len(), 1, "{content}: {found:?}");
        assert!(
            found[0].starts_with("low.rs looks up to high.rs ("),
            "{content}: {found:?}"
        );
    }
}

#[test]
fn a_use_counts_for_the_file_that_defines_what_is_used() {
    // The root re-exports items from below and from above.
    let lib = "mod high; mod middle; mod low; pub use high::High; pub use low::Low;";
    let low = ("low.rs", "pub struct Low;");
    assert_eq!(
        breaches_of(&[("lib.rs", lib), HIGH, low, ("middle.rs", "use crate::Low;")]),
        [""; 0]
    );
    assert_eq!(
        breaches_of(&[
            ("lib.rs", lib),
            HIGH,
            low,
            ("middle.rs", "use crate::High;")
        ]),
        ["middle.rs looks up to high.rs (crate::High)"]
    );
    // A folder's table of contents leads to its files.
    assert_eq!(
        breaches_of(&[
            ("high/mod.rs", "mod inner; pub use inner::Inner;"),
            ("high/inner.rs", "pub struct Inner;"),
            ("low.rs", "use crate::high::Inner;"),
        ]),
        ["low.rs looks up to high/inner.rs (crate::high::Inner)"]
    );
}

#[test]
fn files_that_use_each_other_are_found() {
    let contents = ("low/mod.rs", "mod a; mod b; mod c; pub use a::A;");
    assert_eq!(
        breaches_of(&[
            contents,
            ("low/a.rs", "use super::b::B; pub struct A;"),
            ("low/b.rs", "pub struct B; fn f(_: super::A) {}"),
            ("low/c.rs", ""),
        ]),
        ["low/a.rs and low/b.rs use each other"]
    );
    assert_eq!(
        breaches_of(&[
            contents,
            ("low/a.rs", "use super::b; pub struct A;"),
            ("low/b.rs", "use super::c;"),
            ("low/c.rs", "use crate::low::A;"),
        ]),
        ["low/a.rs and low/b.rs and low/c.rs use each other"]
    );
    assert_eq!(
        breaches_of(&[
            contents,
            ("low/a.rs", "use super::b; pub struct A;"),
            ("low/b.rs", "use super::c;"),
            ("low/c.rs", ""),
        ]),
        [""; 0]
    );
}

#[test]
fn contents_hold_contents_only() {
    for content in [
        "fn f() {}",
        "mod inner { }",
        "pub type T = u8;",
        "macro_rules! m { () => {} }",
    ] {
        assert_eq!(
            breaches_of(&[("low/mod.rs", content)]),
            ["low/mod.rs holds more than contents"],
            "{content}"
        );
    }
    let content = "//! Words.\nmod a;\n#[cfg(test)]\nmod tests;\npub use a::A;";
    assert_eq!(
        breaches_of(&[("low/mod.rs", content), ("low/a.rs", "pub struct A;")]),
        [""; 0]
    );
}

#[test]
fn every_file_has_a_layer() {
    let lib = "mod high; mod middle; mod low; mod other;";
    assert_eq!(
        breaches_of(&[("lib.rs", lib), ("other.rs", "")]),
        ["other.rs is in no layer"]
    );
}

#[test]
fn what_is_no_use_is_no_breach() {
    for content in [
        "//! See [`High`](crate::high::High).\n/// [`crate::high::high`]\nfn f() {}",
        "// crate::high::high()\nconst TEXT: &str = \"crate::high::high\";",
        "#[cfg(test)] mod tests { use crate::high::High; }",
        "#[cfg(test)] use crate::high::High;",
        "#[cfg(all(test, feature = \"low\"))] mod tests { use crate::high::High; }",
        "use std::high::High; fn f() { std::high::high(); ::high::high() }",
        "mod inner { pub(in crate::low) fn f() {} }",
        "use log::High; fn high() {} fn f() { high() }",
    ] {
        assert_eq!(
            breaches_of(&[HIGH, ("low.rs", content)]),
            [""; 0],
            "{content}"
        );
    }
}
