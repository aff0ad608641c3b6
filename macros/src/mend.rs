//! What is emitted in place of a function with mistakes: something that compiles, with the user's body in it.
//!
//! The mistakes are then all that is shown: no missing `main`, no unresolved name, and the editor still completes in the
//! body. Nothing here runs, because the build fails on the mistakes.

use crate::expand::body_function;
use crate::function::{Function, Position};
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::{Attribute, Signature};

pub(crate) fn mend(function: &Function) -> TokenStream {
    match function.position {
        Position::Main | Position::MainUnder(_) => main(function),
        Position::Lifespan => lifespan(function),
        Position::Test(_) => test(function),
    }
}

/// Nobody calls `main`, so the body can stand in it as a function that nobody calls either.
fn main(function: &Function) -> TokenStream {
    let Function {
        attrs,
        visibility,
        signature,
        position,
        ..
    } = function;
    let Signature {
        fn_token, ident, ..
    } = signature;
    // The runtime attribute, which is still there, wants it.
    let asyncness = matches!(position, Position::MainUnder(_)).then(|| quote!(async));
    let body = body_function(function, &Ident::new("__poolhouse_body", Span::call_site()));
    quote!(#(#attrs)* #visibility #asyncness #fn_token #ident() { #body })
}

/// The callers know the function without the parameters that poolhouse fills in; here they are declared in the body.
fn lifespan(function: &Function) -> TokenStream {
    let Function {
        attrs,
        visibility,
        signature,
        receiver,
        parameters,
        body,
        ..
    } = function;
    let Signature {
        safety,
        abi,
        fn_token,
        ident,
        generics,
        output,
        ..
    } = signature;
    let attrs = attrs.iter().filter(|attr| !crate::function::is_pool(attr));
    let asyncness = signature
        .asyncness
        .unwrap_or(syn::Token![async](fn_token.span));
    let clause = &generics.where_clause;
    let callers = parameters
        .iter()
        .filter(|parameter| !function.fills(parameter))
        .map(|parameter| &parameter.typed);
    let receiver = receiver.iter();
    let filled = parameters
        .iter()
        .filter(|parameter| function.fills(parameter))
        .map(|parameter| {
            let syn::PatType { attrs, pat, ty, .. } = &parameter.typed;
            quote!(#(#attrs)* let #pat: #ty = __poolhouse_parameter();)
        });
    quote! {
        #(#attrs)* #visibility #asyncness #safety #abi #fn_token #ident #generics (#(#receiver,)* #(#callers),*) #output #clause {
            fn __poolhouse_parameter<T>() -> T { ::core::unreachable!() }
            #(#filled)*
            #body
        }
    }
}

/// Nobody calls a test, so it can be a plain function; its test attribute would not take its parameters.
fn test(function: &Function) -> TokenStream {
    let attrs = function.attrs.iter().filter(|attr| is_neutral(attr));
    let body = body_function(function, &function.signature.ident);
    quote!(#(#attrs)* #[allow(dead_code)] #body)
}

fn is_neutral(attr: &Attribute) -> bool {
    ["cfg", "allow", "doc"]
        .iter()
        .any(|name| attr.path().is_ident(name))
}
