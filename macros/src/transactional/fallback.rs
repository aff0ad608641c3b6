//! The last stage for a function with mistakes: code that compiles, with the user's body in it.
//!
//! Callers pass an engine or a transaction, so the parameter takes any type, and the transaction is declared in the body.
//! None of this code runs, because the build fails on the mistakes.

use super::method::Method;
use crate::check::is_named;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{FnArg, Pat, PatType, Token, parse_quote};

pub(crate) fn fallback(method: &Method) -> TokenStream {
    let Method {
        visibility,
        receiver,
        body,
        ..
    } = method;
    let attrs = method.attrs.iter();
    let attrs = attrs.filter(|attr| !is_named("transactional", attr));
    let mut signature = method.signature.clone();
    // Forbidden qualifiers are removed where their absence causes no other error.
    signature.constness = None;
    signature.abi = None;
    signature.variadic = None;
    signature
        .asyncness
        .get_or_insert(Token![async](signature.fn_token.span));
    let transactions = method.transactions();
    let parameter = Ident::new("__poolhouse_parameter", Span::call_site());
    let mut declared = TokenStream::new();
    let inputs = method.parameters.iter().enumerate().map(|(index, typed)| {
        if !transactions.contains(&index) {
            return FnArg::Typed(typed.clone());
        }
        let PatType { pat, ty, .. } = typed;
        declared.extend(quote!(let #pat: #ty = #parameter();));
        let name = Ident::new(&format!("__poolhouse_{index}"), Span::call_site());
        FnArg::Typed(PatType {
            attrs: Vec::new(),
            pat: Box::new(Pat::Verbatim(name.to_token_stream())),
            ty: Box::new(parse_quote!(impl ::core::marker::Sized)),
            ..typed.clone()
        })
    });
    let receiver = receiver.iter().cloned().map(FnArg::Receiver);
    signature.inputs = receiver.chain(inputs).collect();
    quote! {
        #(#attrs)* #[allow(unused_variables)] #visibility #signature {
            // Never runs: the build fails on the mistakes.
            fn #parameter<T>() -> T { ::core::unreachable!() }
            #declared
            #body
        }
    }
}
