//! The last stage: the generated code.
//!
//! The code is one call into the runtime, with an async closure around the user's body:
//!
//! ```text
//! async fn transfer(
//!     tx: impl ::poolhouse::TransactionParent<<Transaction<Postgres> as ::poolhouse::__private::IsTransaction>::Database>,
//!     from: i64,
//! ) -> Result<()> {
//!     ::poolhouse::__private::assert_argument(&from);
//!     let __poolhouse_options = ::poolhouse::TransactionOptions::new().join().retries(3);
//!     ::poolhouse::__private::transactional(tx, __poolhouse_options, async move |tx: &mut Transaction<Postgres>| -> Result<()> {
//!         if let Some(__poolhouse_output) = None::<Result<()>> { return __poolhouse_output; }
//!         let from = from;
//!         let __poolhouse_output: Result<()> = { … };
//!         __poolhouse_output
//!     })
//!     .await
//! }
//! ```
//!
//! Each argument is bound again in the closure, so that the compiler checks it like a parameter. Patterns are
//! destructured before the closure, so that `local(…)` can use their variables.
//!
//! Every generated path begins with `::`, so that no item of the user named `poolhouse`, `core` or `Result` shadows it.

use super::arguments::Arguments;
use super::method::{Method, Transaction, inner, name};
use crate::function::is_lint_level;
use crate::pattern::{Binding, bindings};
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::token::Brace;
use syn::{
    FnArg, Lifetime, Pat, PatType, ReceiverKind, ReturnType, Signature, Type, TypePath, parse_quote,
};

pub(crate) fn expand(method: &Method, arguments: &Arguments) -> TokenStream {
    TransactionalExpansion {
        method,
        arguments,
        runtime_crate: arguments.runtime_crate(),
        transaction: method.transactions().first().copied().unwrap_or_default(),
    }
    .function()
}

/// The inputs that all parts of one expansion share.
struct TransactionalExpansion<'a> {
    method: &'a Method,
    arguments: &'a Arguments,
    runtime_crate: TokenStream,
    /// The index of the transaction parameter.
    transaction: usize,
}

impl TransactionalExpansion<'_> {
    fn function(&self) -> TokenStream {
        let Method {
            attrs,
            visibility,
            body,
            ..
        } = self.method;
        let signature = self.signature();
        let checks = self.checks();
        let patterns = self.patterns();
        let bound = self.others().flat_map(|(_, typed)| bindings(&typed.pat));
        let bound: Vec<&Ident> = bound.map(|binding| binding.name).collect();
        let options = self.arguments.options(&bound);
        let call = self.call();
        // The call uses a parameter that the user does not use, `_tx`.
        let mut tokens = quote! {
            #(#attrs)*
            #[allow(clippy::used_underscore_binding)]
            #visibility #signature
        };
        Brace(body.span()).surround(&mut tokens, |tokens| {
            tokens.extend(quote! {
                #patterns
                #checks
                let __poolhouse_options = #options;
                #call
            });
        });
        tokens
    }

    /// The signature for callers: a parent of a transaction in place of the transaction, and each parameter under a plain
    /// name.
    fn signature(&self) -> Signature {
        let mut signature = self.method.signature.clone();
        let receiver = self.method.receiver.iter().cloned().map(FnArg::Receiver);
        let parameters = self.method.parameters.iter().enumerate();
        let plain = parameters.map(|(index, typed)| {
            let ty = if index == self.transaction {
                Box::new(self.parent(&typed.ty))
            } else {
                typed.ty.clone()
            };
            let mut typed = typed.clone();
            // They belong to the variables in the closure.
            typed.attrs.retain(|attr| !is_lint_level(attr));
            FnArg::Typed(PatType {
                pat: Box::new(Pat::Verbatim(outer(index, &typed).to_token_stream())),
                ty,
                ..typed
            })
        });
        signature.inputs = receiver.chain(plain).collect();
        signature
    }

    /// `impl TransactionParent<<Transaction<DB> as IsTransaction>::Database>`, with the span of the type.
    fn parent(&self, ty: &Type) -> Type {
        let runtime_crate = &self.runtime_crate;
        let transaction = transaction(ty);
        let parent = quote_spanned! {transaction.span()=>
            impl #runtime_crate::TransactionParent<
                <#transaction as #runtime_crate::__private::IsTransaction>::Database
            >
        };
        parse_quote!(#parent)
    }

    /// The check that each try can get the arguments.
    fn checks(&self) -> TokenStream {
        if self.arguments.runs_once() {
            return TokenStream::new();
        }
        let runtime_crate = &self.runtime_crate;
        let check = |span: Span, name: TokenStream| quote_spanned!(span=> #runtime_crate::__private::assert_argument(&#name););
        let receiver = self.method.receiver.iter();
        // A shared reference can be copied for each try.
        let receiver =
            receiver.filter(|receiver| !matches!(receiver.kind, ReceiverKind::Reference(..)));
        let receiver = receiver.map(|receiver| {
            let own = receiver.self_token;
            check(own.span(), quote!(#own))
        });
        let arguments = self.others().flat_map(|(_, typed)| {
            let bound = bindings(&typed.pat).into_iter();
            bound.map(move |binding| {
                let span = if name(typed).is_some() {
                    typed.ty.span()
                } else {
                    binding.name.span()
                };
                check(span, binding.name.to_token_stream())
            })
        });
        receiver.chain(arguments).collect()
    }

    /// The statements that destructure the patterns of parameters.
    fn patterns(&self) -> TokenStream {
        let taken_apart = self.others().filter(|(_, typed)| name(typed).is_none());
        taken_apart
            .map(|(index, typed)| {
                let (pat, name) = (&typed.pat, outer(index, typed));
                // Each variable is bound again in the closure, where it may be changed.
                quote!(#[allow(unused_mut)] let #pat = #name;)
            })
            .collect()
    }

    fn call(&self) -> TokenStream {
        let runtime_crate = &self.runtime_crate;
        let body = &self.method.body;
        let typed = &self.method.parameters[self.transaction];
        let (pat, ty) = (&typed.pat, &typed.ty);
        let parent = outer(self.transaction, typed);
        let function = Ident::new(
            if self.arguments.runs_once() {
                "transactional_once"
            } else {
                "transactional"
            },
            Span::call_site(),
        );
        let output = &self.method.signature.output;
        let bound = self.others().flat_map(|(_, typed)| {
            let bound = bindings(&typed.pat).into_iter();
            bound.map(move |binding| (binding, typed))
        });
        let bound = bound.map(|(Binding { name, pat }, typed)| {
            // A parameter that only `local(…)` uses gets no warning as unused.
            let is_used = self.arguments.mentions(name);
            let level = is_used.then(|| quote!(#[allow(unused_variables)]));
            let levels = typed.attrs.iter().filter(|attr| is_lint_level(attr));
            quote!(#level #(#levels)* let #pat = #name;)
        });
        let (output, inside) = match output {
            // An opaque type has no name in a closure.
            ReturnType::Type(_, ty) if mentions_impl(ty.to_token_stream()) => {
                // Without a label, the braces of a body on one line get a warning as unnecessary. Its span is that of the
                // body, so that messages about the block are the same as without it.
                let label = Lifetime::new("'__poolhouse", body.span());
                (None, quote!(#(#bound)* #label: #body))
            }
            ReturnType::Type(_, ty) => (Some(output), typed_body(ty, bound, body)),
            ReturnType::Default => (None, body.to_token_stream()),
        };
        quote! {
            #runtime_crate::__private::#function(
                #parent,
                __poolhouse_options,
                async move |#pat: #ty| #output { #inside }
            )
            .await
        }
    }

    /// The parameters besides the transaction.
    fn others(&self) -> impl Iterator<Item = (usize, &PatType)> {
        let parameters = self.method.parameters.iter().enumerate();
        parameters.filter(|(index, _)| *index != self.transaction)
    }
}

/// A parameter's name in the generated signature: its own if the pattern is only a name.
fn outer(index: usize, typed: &PatType) -> Ident {
    name(typed)
        .cloned()
        .unwrap_or_else(|| format_ident!("__poolhouse_{index}"))
}

/// The type behind the reference.
fn transaction(ty: &Type) -> TokenStream {
    let path: Option<&TypePath> = match Transaction::of(ty) {
        Some(Transaction::Ours(path)) => Some(path),
        _ => None,
    };
    // `check` accepts no other type.
    path.map_or_else(|| inner(ty).to_token_stream(), ToTokens::to_token_stream)
}

/// The body, with each result coerced to the function's return type, as in the function itself. The return type of an
/// async closure does not coerce: the first `return` does it for the others, and a typed variable for the last
/// expression.
fn typed_body(
    ty: &Type,
    bound: impl Iterator<Item = TokenStream>,
    body: &TokenTree,
) -> TokenStream {
    quote_spanned! {body.span()=>
        if let ::core::option::Option::Some(__poolhouse_output) = ::core::option::Option::None::<#ty> {
            return __poolhouse_output;
        }
        #(#bound)*
        let __poolhouse_output: #ty = #body;
        #[allow(unreachable_code)]
        __poolhouse_output
    }
}

fn mentions_impl(tokens: TokenStream) -> bool {
    crate::check::mention("impl", tokens).is_some_and(|token| matches!(token, TokenTree::Ident(_)))
}
