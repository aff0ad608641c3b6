//! One type a name in each crate, and no private method that hides a public one of sqlx.

use std::collections::BTreeSet;
use std::path::Path;

use poolhouse_structure::names::{hiding_methods, shared_types};
use poolhouse_structure::repository;
use poolhouse_structure::source::Source;

fn runtime() -> Source {
    Source::read(&repository().join("runtime/src")).unwrap()
}

#[test]
fn every_type_has_a_name_of_its_own_in_its_crate() {
    let macros = Source::read(&repository().join("macros/src")).unwrap();
    let mut found = vec![];
    for source in [runtime(), macros] {
        let mut shared = shared_types(&source);
        // A sealing trait is private to its file.
        shared.remove("Sealed");
        found.extend(
            shared
                .iter()
                .map(|(name, files)| format!("{name}: {files:?}")),
        );
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_private_method_hides_a_public_one_of_sqlx() {
    let types = [
        "Engine",
        "Checkout",
        "Transaction",
        "Session",
        "RequestTransaction",
    ];
    assert_eq!(hiding_methods(&runtime(), &types), BTreeSet::new());
}

fn source_of(files: &[(&str, &str)]) -> Source {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(directory.path().join(Path::new(name)), content).unwrap();
    }
    Source::read(directory.path()).unwrap()
}

#[test]
fn a_name_of_two_types_is_found() {
    let source = source_of(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "struct State; struct A; enum Once {}"),
        ("b.rs", "type State = u8; trait B {}"),
    ]);
    let shared = shared_types(&source);
    assert_eq!(shared.keys().collect::<Vec<_>>(), ["State"]);
}

#[test]
fn a_private_method_with_a_name_of_sqlx_is_found() {
    let source = source_of(&[(
        "lib.rs",
        "pub struct Engine; \
         impl Engine { pub(crate) fn close(&self) {} pub fn begin(&self) {} fn size(&self) {} fn own(&self) {} fn ping() {} } \
         struct Other; impl Other { fn close(&self) {} } \
         impl Drop for Engine { fn drop(&mut self) {} }",
    )]);
    let found = hiding_methods(&source, &["Engine"]);
    assert_eq!(
        found.iter().map(String::as_str).collect::<Vec<_>>(),
        ["Engine::close", "Engine::size"]
    );
}
