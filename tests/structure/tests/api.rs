//! Checks that the public API is the one in `docs/api.rs`. `POOLHOUSE_STRUCTURE=update` rewrites
//! the file.

use poolhouse_structure::api::listing;
use poolhouse_structure::repository;
use poolhouse_structure::source::Source;

#[test]
fn the_public_api_is_the_one_that_is_listed() {
    let listed = repository().join("docs/api.rs");
    let source = Source::read(&repository().join("runtime/src")).unwrap();
    let head = "// The public API of poolhouse, as a test of tests/structure lists it.\n\n";
    let current = head.to_owned() + &listing(&source).unwrap();
    if std::env::var("POOLHOUSE_STRUCTURE").is_ok_and(|wish| wish == "update") {
        std::fs::write(&listed, &current).unwrap();
    }
    let listed = std::fs::read_to_string(&listed).unwrap_or_default();
    let change = listed
        .lines()
        .zip(current.lines())
        .find(|(listed, current)| listed != current);
    assert!(
        listed == current,
        "the public API is not the one of docs/api.rs: {change:?}; if this is meant, `POOLHOUSE_STRUCTURE=update` rewrites the file"
    );
}

/// The listing of a crate with one file.
fn of(content: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("lib.rs"), content).unwrap();
    listing(&Source::read(directory.path()).unwrap()).unwrap()
}

#[test]
fn modules_are_listed_with_what_is_in_them() {
    let content =
        "mod a { pub mod b { pub struct T; struct U; } } pub use a::b; pub mod c { pub fn f() {} }";
    assert_eq!(
        of(content),
        "// b::T\n\npub struct T;\n\n// c::f\n\npub fn f() {}\n\n"
    );
}

#[test]
fn each_change_that_others_can_see_is_one_of_the_listing() {
    let crate_of = |inner: &str| format!("mod inner {{ {inner} }} pub use inner::T;");
    let before = of(&crate_of(
        "pub struct T { a: u8 } impl T { pub fn f(&self) {} }",
    ));
    for other in [
        "pub struct T { pub a: u8 } impl T { pub fn f(&self) {} }",
        "pub struct T { a: u8, pub b: u8 } impl T { pub fn f(&self) {} }",
        "#[derive(Clone)] pub struct T { a: u8 } impl T { pub fn f(&self) {} }",
        "#[non_exhaustive] pub struct T { a: u8 } impl T { pub fn f(&self) {} }",
        "pub enum T { A } impl T { pub fn f(&self) {} }",
        "pub struct T { a: u8 } impl T { pub fn f(&self) -> u8 { 0 } }",
        "pub struct T { a: u8 } impl T { pub fn f(&mut self) {} }",
        "pub struct T { a: u8 } impl T { pub fn f(&self) {} pub fn g(&self) {} }",
        "pub struct T { a: u8 } impl T { pub(crate) fn f(&self) {} }",
        "pub struct T { a: u8 } impl T { #[doc(hidden)] pub fn f(&self) {} }",
        "pub struct T { a: u8 } impl T { pub fn f(&self) {} } impl Clone for T { fn clone(&self) -> T { T } }",
        "pub struct T { a: u8 } impl T { pub fn f(&self) {} } words!(T);",
        "pub struct T { a: u8 } impl T { pub fn f(&self) {} } mod other { impl super::T { pub fn g() {} } }",
    ] {
        assert_ne!(of(&crate_of(other)), before, "{other}");
    }
    for same in [
        "/// Words.\npub struct T { b: u16, c: u8 } impl T { pub fn f(&self) { todo!() } }",
        "pub struct T { a: u8 } impl T { pub fn f(&self) {} fn g() {} } struct U; pub struct V;",
    ] {
        assert_eq!(of(&crate_of(same)), before, "{same}");
    }
}
