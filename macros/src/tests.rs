//! Tests of the whole expansion, in this process: the macro as a function from tokens to tokens.

mod fuzz;
mod macro_rules;
mod mistakes;
mod signals;
mod snapshots;
mod table;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Expands the first `#[with_pool(…)]` of a source text, as the compiler would.
fn expand(source: &str) -> TokenStream {
    let tokens: TokenStream = source
        .parse()
        .expect("the source of a test has balanced groups");
    let (args, item) = split(tokens);
    crate::expand(args, item)
}

/// The arguments of the first `#[with_pool(…)]`, and the item without it.
fn split(tokens: TokenStream) -> (TokenStream, TokenStream) {
    let mut trees: Vec<TokenTree> = tokens.into_iter().collect();
    let attribute = trees
        .iter()
        .position(is_with_pool)
        .expect("the source of a test has the attribute");
    let TokenTree::Group(group) = trees.remove(attribute) else {
        unreachable!("`is_with_pool` is about groups")
    };
    // The `#` in front of it.
    trees.remove(attribute - 1);
    let args = group.stream().into_iter().find_map(|tree| match tree {
        TokenTree::Group(args) => Some(args.stream()),
        _ => None,
    });
    (args.unwrap_or_default(), trees.into_iter().collect())
}

fn is_with_pool(tree: &TokenTree) -> bool {
    match tree {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
            matches!(group.stream().into_iter().next(), Some(TokenTree::Ident(name)) if name == "with_pool")
        }
        _ => false,
    }
}
