//! Tests of the whole expansion, in this process: the macro as a function from tokens to tokens.

mod futures;
mod fuzz;
mod macro_rules;
mod mistakes;
mod panics;
mod signals;
mod snapshots;
mod table;
mod transactional;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Expands the first attribute of poolhouse in a source text, as the compiler would.
fn expand(source: &str) -> TokenStream {
    let tokens: TokenStream = source
        .parse()
        .expect("the source of a test has balanced groups");
    let (expand, args, item) = split(tokens);
    expand(args, item)
}

type Expand = fn(TokenStream, TokenStream) -> TokenStream;

/// The macro of the first `#[with_pool(…)]` or `#[transactional(…)]`, its arguments, and the item without it.
fn split(tokens: TokenStream) -> (Expand, TokenStream, TokenStream) {
    let mut trees: Vec<TokenTree> = tokens.into_iter().collect();
    let (attribute, expand) = trees
        .iter()
        .enumerate()
        .find_map(|(index, tree)| Some((index, expand_of(tree)?)))
        .expect("the source of a test has the attribute");
    let TokenTree::Group(group) = trees.remove(attribute) else {
        unreachable!("`expand_of` is about groups")
    };
    // The `#` in front of it.
    trees.remove(attribute - 1);
    let args = group.stream().into_iter().find_map(|tree| match tree {
        TokenTree::Group(args) => Some(args.stream()),
        _ => None,
    });
    (
        expand,
        args.unwrap_or_default(),
        trees.into_iter().collect(),
    )
}

fn expand_of(tree: &TokenTree) -> Option<Expand> {
    let TokenTree::Group(group) = tree else {
        return None;
    };
    let name = group.stream().into_iter().next()?.to_string();
    match (group.delimiter(), &*name) {
        (Delimiter::Bracket, "with_pool") => Some(crate::expand),
        (Delimiter::Bracket, "transactional") => Some(crate::transactional::expand),
        _ => None,
    }
}
