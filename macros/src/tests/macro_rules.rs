//! Fragments that a `macro_rules!` passes on, which come in invisible groups.

use proc_macro2::{Delimiter, Group, TokenStream};
use quote::quote;

fn fragment(tokens: TokenStream) -> Group {
    Group::new(Delimiter::None, tokens)
}

#[test]
fn a_fragment_is_taken_as_what_is_in_it() {
    let (size, body, ty) = (
        fragment(quote!(20)),
        fragment(quote!({ drop(db) })),
        fragment(quote!(PgEngine)),
    );
    let output = crate::expand(
        quote!(max_size = #size),
        quote!(async fn main(db: #ty) #body),
    );
    let plain = crate::expand(
        quote!(max_size = 20),
        quote!(
            async fn main(db: PgEngine) {
                drop(db)
            }
        ),
    );
    // Invisible groups are printed as their content, up to white space.
    let words = |tokens: &TokenStream| {
        tokens
            .to_string()
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(words(&output), words(&plain));
}

#[test]
fn a_literal_in_a_fragment_is_checked() {
    let size = fragment(quote!(0));
    let output = crate::expand(
        quote!(max_size = #size),
        quote!(
            async fn main() {}
        ),
    )
    .to_string();
    assert!(output.contains("`max_size` must be at least 1"), "{output}");
}

#[test]
fn a_body_is_never_parsed() {
    let output = crate::expand(
        quote!(),
        quote!(async fn main(db: PgEngine) { let x = db. ; if }),
    )
    .to_string();
    assert!(output.contains("{ let x = db . ; if }"), "{output}");
    assert!(!output.contains("compile_error"), "{output}");
}
