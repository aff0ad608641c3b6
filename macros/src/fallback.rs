//! The last stage for a function with mistakes: code that compiles, with the user's body in it.
//!
//! The mistakes are then all that is shown: no missing `main`, no unresolved name, and the editor still completes in the
//! body. Nothing here runs, because the build fails on the mistakes.

use crate::function::{Function, is_pool};
use crate::position::Position;
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::{Attribute, FnArg, PatType, Token};

pub(crate) fn fallback(mut function: Function) -> TokenStream {
    // What the attribute does not allow is left out where its absence cannot turn anything else red.
    let signature = &mut function.signature;
    signature.constness = None;
    signature.abi = None;
    signature.variadic = None;
    signature
        .asyncness
        .get_or_insert(Token![async](signature.fn_token.span));
    function.attrs.retain(|attr| !is_pool(attr));
    match function.position {
        Position::Main | Position::MainUnder(_) => main(&function),
        Position::Lifespan => lifespan(&function),
        Position::Test(_) => test(&function),
    }
}

/// Nobody calls `main`, so its body can stand in it as a function that nobody calls either.
fn main(function: &Function) -> TokenStream {
    let Function {
        attrs,
        visibility,
        signature,
        position,
        ..
    } = function;
    // The runtime attribute, which is still there, wants it.
    let asyncness = matches!(position, Position::MainUnder(_)).then_some(signature.asyncness);
    let inner = function.inner(&Ident::new("__poolhouse_body", Span::call_site()));
    quote!(#(#attrs)* #visibility #asyncness fn main() { #inner })
}

/// Callers know the function without the parameters that poolhouse fills in; here these are declared in the body.
fn lifespan(function: &Function) -> TokenStream {
    let Function {
        attrs,
        visibility,
        body,
        ..
    } = function;
    let (filled, callers): (Vec<_>, Vec<_>) = function
        .parameters
        .iter()
        .partition(|parameter| function.fills(parameter));
    let receiver = function.receiver.iter().cloned().map(FnArg::Receiver);
    let callers = callers
        .into_iter()
        .map(|parameter| FnArg::Typed(parameter.typed.clone()));
    let mut signature = function.signature.clone();
    signature.inputs = receiver.chain(callers).collect();
    let declared = filled.into_iter().map(|parameter| {
        let PatType { attrs, pat, ty, .. } = &parameter.typed;
        quote!(#(#attrs)* let #pat: #ty = __poolhouse_parameter();)
    });
    quote! {
        #(#attrs)* #visibility #signature {
            fn __poolhouse_parameter<T>() -> T { ::core::unreachable!() }
            #(#declared)*
            #body
        }
    }
}

/// Nobody calls a test, so it can be a plain function; its test attribute would not take its parameters.
fn test(function: &Function) -> TokenStream {
    let attrs = function.attrs.iter().filter(|attr| is_neutral(attr));
    let inner = function.inner(&function.signature.ident);
    quote!(#(#attrs)* #[allow(dead_code)] #inner)
}

fn is_neutral(attr: &Attribute) -> bool {
    ["cfg", "allow", "doc"]
        .iter()
        .any(|name| attr.path().is_ident(name))
}
