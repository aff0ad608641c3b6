//! The position of the attribute, from the name and the other attributes of the function.

use proc_macro2::TokenTree;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, MetaList, Path, Signature, Token};

/// The position: what the attribute stands on.
pub(crate) enum Position {
    /// `main`, for which poolhouse builds the runtime.
    Main,
    /// `main` with a runtime attribute below `#[with_pool]`, such as `#[tokio::main]`.
    MainUnder(Path),
    /// Any other function.
    Lifespan,
    /// A test function.
    Test(Test),
}

/// A test function, as its attributes describe it.
pub(crate) struct Test {
    /// The attribute that builds the runtime, such as `#[tokio::test]`; `None` when poolhouse builds it.
    pub(crate) runtime: Option<Path>,
    /// The attribute that gives the function its parameters, such as `#[rstest]`, except those with `#[pool]`.
    pub(crate) parameters_from: Option<Path>,
    pub(crate) should_panic: bool,
    /// Whether it passes with any panic: `#[should_panic]` without `expected`. Not below `cfg_attr`, whose condition may be false.
    pub(crate) any_panic: bool,
}

/// The position of a function with these attributes.
pub(crate) fn position(attrs: &[Attribute], signature: &Signature, has_receiver: bool) -> Position {
    let paths: Vec<Path> = attrs.iter().flat_map(|attr| paths(&attr.meta)).collect();
    let ends_in = |names: &[&str]| {
        let matches = |path: &&Path| {
            path.segments
                .last()
                .is_some_and(|last| names.iter().any(|name| last.ident == name))
        };
        paths.iter().find(matches).cloned()
    };
    if ends_in(TESTS)
        .or_else(|| ends_in(PARAMETER_ATTRIBUTES))
        .is_some()
    {
        return Position::Test(Test {
            runtime: attrs.iter().find_map(|attr| runtime(&attr.meta)),
            parameters_from: ends_in(PARAMETER_ATTRIBUTES),
            should_panic: of_each_case(attrs)
                .iter()
                .flat_map(|attr| self::paths(&attr.meta))
                .any(|path| path.is_ident("should_panic")),
            any_panic: of_each_case(attrs).iter().any(
                |attr| matches!(&attr.meta, Meta::Path(path) if path.is_ident("should_panic")),
            ),
        });
    }
    // A method named `main` has callers, so it is a function like any other.
    if signature.ident != "main" || has_receiver {
        return Position::Lifespan;
    }
    runtime_of_main(attrs).map_or(Position::Main, Position::MainUnder)
}

/// The attribute that builds the runtime of a `main`, or of a function with another name: `#[tokio::main]`.
pub(crate) fn runtime_of_main(attrs: &[Attribute]) -> Option<Path> {
    path_ending_in("main", attrs)
}

fn path_ending_in(name: &str, attrs: &[Attribute]) -> Option<Path> {
    let mut paths = attrs.iter().flat_map(|attr| paths(&attr.meta));
    paths.find(|path| path.segments.last().is_some_and(|last| last.ident == name))
}

/// The attributes that every case of a test has. Under `#[rstest]`, those in front of a `#[case]` or `#[case::name]` belong to
/// that case only.
fn of_each_case(attrs: &[Attribute]) -> &[Attribute] {
    let is_case = |path: &Path| {
        let first = path.segments.first();
        first.is_some_and(|first| first.ident == "case")
    };
    let last = attrs
        .iter()
        .rposition(|attr| paths(&attr.meta).iter().any(is_case));
    last.map_or(attrs, |last| &attrs[last + 1..])
}

/// The attribute that makes a `main` of the function which it stands on: Rocket's `launch`.
pub(crate) fn launch(attrs: &[Attribute]) -> Option<Path> {
    path_ending_in("launch", attrs)
}

/// The crates of runtime attributes whose servers listen for SIGINT and SIGTERM themselves and finish their open
/// requests.
const LISTENING: &[&str] = &["actix_web", "ntex", "rocket"];

/// Whether a server under this runtime attribute listens for signals itself.
pub(crate) fn listens_itself(runtime: &Path) -> bool {
    runtime.segments.len() > 1
        && LISTENING
            .iter()
            .any(|name| runtime.segments[0].ident == name)
}

/// The last segments of test attributes: `#[tokio::test]`, `#[rocket::async_test]`.
const TESTS: &[&str] = &["test", "async_test"];

/// Attributes of test functions that give them their parameters: of `rstest`, `test_case` and `rstest_reuse`.
const PARAMETER_ATTRIBUTES: &[&str] = &["rstest", "test_case", "test_matrix", "apply"];

/// The test attribute that builds a runtime: each except those that need a synchronous function. `#[test(…)]` is not std's, which
/// has no arguments.
fn runtime(meta: &Meta) -> Option<Path> {
    let path = meta.path();
    let names: Vec<String> = path
        .segments
        .iter()
        .map(|segment| segment.ident.to_string())
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    match (meta, names.as_slice()) {
        (Meta::List(list), ["cfg_attr"]) => {
            let metas = Punctuated::<Meta, Token![,]>::parse_terminated.parse2(list.tokens.clone());
            metas
                .into_iter()
                .flatten()
                .skip(1)
                .find_map(|meta| runtime(&meta))
        }
        // `test_log::test` adds another test attribute below itself: the one in its argument, or `#[test]`.
        (
            Meta::Path(_),
            ["test"] | ["core" | "std", "prelude", "v1", "test"] | ["test_log", "test"],
        ) => None,
        (_, [.., last]) if TESTS.contains(last) => Some(path.clone()),
        _ => None,
    }
}

/// The paths of an attribute: its own, or those that `cfg_attr` adds.
fn paths(meta: &Meta) -> Vec<Path> {
    match meta {
        Meta::List(list) if list.path.is_ident("cfg_attr") => {
            let metas = Punctuated::<Meta, Token![,]>::parse_terminated.parse2(list.tokens.clone());
            metas
                .into_iter()
                .flatten()
                .skip(1)
                .flat_map(|meta| paths(&meta))
                .collect()
        }
        Meta::List(list) if applies_macro(list) => vec![],
        other => vec![other.path().clone()],
    }
}

/// Whether it is the `apply` of `macro_rules_attribute`, whose argument is a macro: `#[apply(main!)]`.
fn applies_macro(list: &MetaList) -> bool {
    let is_apply = list.path.segments.last();
    let is_apply = is_apply.is_some_and(|last| last.ident == "apply");
    let mut tokens = list.tokens.clone().into_iter();
    is_apply
        && tokens.any(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == '!'))
}
