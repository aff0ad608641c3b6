//! The last stage for a function with mistakes: code that compiles, with the user's body in it.
//!
//! The compiler then reports only the mistakes, and no missing `main` or unresolved name. Editors still complete code in
//! the body. None of this code runs, because the build fails on the mistakes.

use crate::check::is_named;
use crate::function::{Function, is_pool};
use crate::position::Position;
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::{Attribute, FnArg, PatType, Token};

pub(crate) fn fallback(mut function: Function) -> TokenStream {
    // Forbidden qualifiers are removed where their absence causes no other error.
    let signature = &mut function.signature;
    signature.constness = None;
    signature.abi = None;
    signature.variadic = None;
    signature
        .asyncness
        .get_or_insert(Token![async](signature.fn_token.span));
    function
        .attrs
        .retain(|attr| !is_pool(attr) && !is_named("with_pool", attr));
    match function.position {
        Position::Main | Position::MainUnder(_) => main(&function),
        Position::Lifespan => lifespan(&function),
        Position::Test(_) => test(&function),
    }
}

/// Emits a `main` with the body in an unused inner function, because neither is called.
fn main(function: &Function) -> TokenStream {
    let Function {
        attrs,
        visibility,
        signature,
        position,
        ..
    } = function;
    // The runtime attribute, which is kept, requires `async`.
    let asyncness = matches!(position, Position::MainUnder(_)).then_some(signature.asyncness);
    let inner = function.inner(&Ident::new("__poolhouse_body", Span::call_site()), |_| {
        false
    });
    quote!(#(#attrs)* #visibility #asyncness fn main() { #inner })
}

/// Declares the parameters that poolhouse fills in as variables of the body, because callers do not pass them.
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
            // Never runs: the build fails on the mistakes.
            fn __poolhouse_parameter<T>() -> T { ::core::unreachable!() }
            #(#declared)*
            #body
        }
    }
}

/// Emits a plain function: a test has no callers, and its test attribute would refuse its parameters.
fn test(function: &Function) -> TokenStream {
    let attrs = function.attrs.iter().filter(|attr| is_neutral(attr));
    let inner = function.inner(&function.signature.ident, |_| false);
    quote!(#(#attrs)* #[allow(dead_code)] #inner)
}

fn is_neutral(attr: &Attribute) -> bool {
    ["cfg", "allow", "doc"]
        .iter()
        .any(|name| attr.path().is_ident(name))
}
