//! The last stage: the generated code.
//!
//! The code is one inner `async fn` with the user's own signature and body, and one call into the runtime:
//!
//! ```text
//! fn main() -> Result<()> {
//!     async fn __poolhouse_body(db: PgEngine) -> Result<()> { … }
//!     ::poolhouse::__private::Attribute::new(env!("CARGO_PKG_NAME"), ::poolhouse::Settings::attribute().max_size(20))
//!         .block_on((::poolhouse::__private::parameter::<PgEngine>(),), |(db,)| __poolhouse_body(db))
//! }
//! ```
//!
//! All attributes of the user stay on the outer function, in their order. This function has the user's name, so
//! documentation, `#[instrument]` and runtime attributes belong on it. Lint levels reach the inner function, which is
//! nested in it.
//!
//! Every generated path begins with `::`, so that no item of the user named `poolhouse`, `core` or `Result` shadows it.

use crate::function::{Function, Parameter};
use crate::position::{Position, Test, listens_itself};
use crate::setters::{embedded, setter};
use crate::settings::{Directory, Settings};
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::token::Brace;
use syn::{FnArg, GenericParam, Pat, PatType, ReturnType, Signature};

pub(crate) fn expand(function: &Function, settings: &Settings) -> TokenStream {
    Expansion::new(function, settings).function()
}

/// The inputs that all parts of one expansion share.
struct Expansion<'a> {
    function: &'a Function,
    settings: &'a Settings,
    /// The parameters in the user's order, each with the name that the generated code gives it.
    parameters: Vec<(&'a Parameter, Ident)>,
    body: Ident,
}

impl<'a> Expansion<'a> {
    fn new(function: &'a Function, settings: &'a Settings) -> Self {
        Expansion {
            function,
            settings,
            parameters: named(function, settings),
            body: format_ident!("__poolhouse_body", span = function.signature.ident.span()),
        }
    }

    /// The user's attributes and header around the inner function and the call.
    ///
    /// The braces and the header have the spans of the user's own, so that the compiler's messages about the function
    /// point to the user's code.
    fn function(&self) -> TokenStream {
        let Function {
            attrs,
            visibility,
            body,
            ..
        } = self.function;
        let signature = self.outer_signature();
        let is_used = |parameter: &Parameter| self.function.is_in_setting(parameter, self.settings);
        let inner = self.function.inner(&self.body, is_used);
        let call = self.call();
        let mut tokens = quote!(#(#attrs)* #visibility #signature);
        Brace(body.span()).surround(&mut tokens, |tokens| {
            // The inner function must be async even if it awaits nothing, and another attribute may put statements before
            // it. The other lints check a signature, which the outer function has too.
            tokens.extend(quote! {
                #[allow(
                    clippy::fn_params_excessive_bools, clippy::future_not_send, clippy::items_after_statements,
                    clippy::too_many_arguments, clippy::too_many_lines, clippy::unused_async
                )]
                #inner
                #call
            });
        });
        tokens
    }

    /// The signature for callers: without the parameters that poolhouse fills in, each of the others under a plain name.
    fn outer_signature(&self) -> Signature {
        let mut signature = self.function.signature.clone();
        if let Position::Main | Position::Test(Test { runtime: None, .. }) = self.function.position
        {
            signature.asyncness = None;
        }
        let callers = self
            .parameters
            .iter()
            .filter(|(parameter, _)| !self.function.fills(parameter));
        let plain = callers.map(|(parameter, name)| {
            let pat = Box::new(Pat::Verbatim(name.to_token_stream()));
            // The attributes of a test's parameter give its values: `#[case]`.
            let given = self.function.is_given(parameter);
            let attrs = given.then(|| parameter.typed.attrs.clone());
            FnArg::Typed(PatType {
                attrs: attrs.unwrap_or_default(),
                pat,
                ..parameter.typed.clone()
            })
        });
        signature.inputs = plain.collect();
        signature
    }

    /// `Attribute::new(…).block_on((parameter(), …), |(a, …)| __poolhouse_body(a, …))`
    fn call(&self) -> TokenStream {
        let filled = || {
            self.parameters
                .iter()
                .filter(|(parameter, _)| self.function.fills(parameter))
        };
        let sources = filled().map(|(parameter, _)| self.source(parameter));
        let sources = quote!((#(#sources,)*));
        let names = filled().map(|(_, name)| name);
        let names = quote!((#(#names,)*));
        let body = self.body_call();
        let attribute = self.attribute();
        let run = match &self.function.position {
            Position::Main => quote!(.block_on(#sources, |#names| #body)),
            Position::MainUnder(runtime) => {
                let beside = listens_itself(runtime).then(|| quote!(.beside_server()));
                quote!(#beside.main(#sources, |#names| #body).await)
            }
            Position::Test(test) => {
                let described = self.test(test);
                if test.runtime.is_some() {
                    quote!(.test(#described, #sources, move |#names| #body).await)
                } else {
                    quote!(.block_on_test(#described, #sources, move |#names| #body))
                }
            }
            // The caller's parameters move into the body.
            Position::Lifespan => quote!(.lifespan(#sources, move |#names| #body).await),
        };
        // Hygienic: a parameter of the user's may have the same name.
        let run_of = Ident::new("__poolhouse", Span::mixed_site());
        quote! {
            let #run_of = #attribute;
            #run_of #run
        }
    }

    /// `::poolhouse::__private::Attribute::new(…)`, with the spans of the return type, where the compiler reports a type
    /// that the runtime cannot handle.
    fn attribute(&self) -> TokenStream {
        let output = match &self.function.signature.output {
            ReturnType::Default => TokenStream::new(),
            ReturnType::Type(_, ty) => ty.to_token_stream(),
        };
        let spans: Vec<Span> = output.into_iter().map(|token| token.span()).collect();
        let begin = spans.first().copied().unwrap_or_else(Span::call_site);
        let end = spans.last().copied().unwrap_or_else(Span::call_site);
        let runtime_crate = self.runtime_crate(begin);
        let settings = self.settings(self.settings);
        let arguments = quote!(::core::env!("CARGO_PKG_NAME"), #settings);
        quote_spanned!(end=> #runtime_crate::__private::Attribute::new(#arguments))
    }

    /// `::poolhouse`, or the path that `crate` gives, with this span.
    fn runtime_crate(&self, span: Span) -> TokenStream {
        match self.settings.runtime_crate() {
            None => quote_spanned!(span=> ::poolhouse),
            Some(path) => {
                let at_span = |mut token: TokenTree| {
                    token.set_span(token.span().located_at(span));
                    token
                };
                path.to_token_stream().into_iter().map(at_span).collect()
            }
        }
    }

    /// `::poolhouse::__private::Test::new("bands::counts").should_panic().migrations(…)`
    fn test(&self, test: &Test) -> TokenStream {
        let runtime_crate = self.runtime_crate(Span::call_site());
        let name = self.function.signature.ident.unraw().to_string();
        let should_panic = test.should_panic.then(|| quote!(.should_panic()));
        let any_panic = test.any_panic.then(|| quote!(.any_panic()));
        let named = ["migrations", "migrator"]
            .iter()
            .any(|name| self.settings.get(name).is_some());
        let of_crate = if named { None } else { Directory::of_crate() };
        let migrations = of_crate.map(|directory| {
            let embedded = embedded(&directory);
            quote!(.migrations(#embedded))
        });
        quote! {
            #runtime_crate::__test_function! {
                #runtime_crate::__private::Test::new(::core::concat!(::core::module_path!(), "::", #name))
                    #should_panic #any_panic #migrations
            }
        }
    }

    /// `::poolhouse::__private::parameter::<PgEngine>()`, with the span of the type.
    fn source(&self, parameter: &Parameter) -> TokenStream {
        let ty = &parameter.typed.ty;
        let runtime_crate = self.runtime_crate(ty.span());
        match &parameter.pool {
            Some(settings) if !settings.list.is_empty() => {
                let settings = self.settings(settings);
                quote_spanned!(ty.span()=> #runtime_crate::__private::parameter_with::<#ty>(#settings))
            }
            _ => quote_spanned!(ty.span()=> #runtime_crate::__private::parameter::<#ty>()),
        }
    }

    /// `::poolhouse::Settings::attribute().max_size(20)…`
    fn settings(&self, settings: &Settings) -> TokenStream {
        let runtime_crate = self.runtime_crate(Span::call_site());
        let parameters = self.function.parameters.iter();
        let callers = parameters.filter(|parameter| !self.function.fills(parameter));
        let callers: Vec<&Ident> = callers.filter_map(Parameter::name).collect();
        let setters = settings.list.iter();
        let setters = setters.filter_map(|setting| setter(setting, &callers));
        quote!(#runtime_crate::Settings::attribute() #(#setters)*)
    }

    /// `__poolhouse_body::<T>(app, db)`: types and constants are given because they may not be inferable. Lifetimes are
    /// left out because late-bound ones cannot be given.
    fn body_call(&self) -> TokenStream {
        let body = &self.body;
        let generics = self
            .function
            .signature
            .generics
            .params
            .iter()
            .filter_map(|generic| match generic {
                GenericParam::Type(generic) => Some(&generic.ident),
                GenericParam::Const(generic) => Some(&generic.ident),
                GenericParam::Lifetime(_) => None,
            });
        let generics: Vec<_> = generics.collect();
        let turbofish = (!generics.is_empty()).then(|| quote!(::<#(#generics),*>));
        let names = self.parameters.iter().map(|(_, name)| name);
        quote!(#body #turbofish (#(#names),*))
    }
}

/// A name for each parameter: its own if the pattern is only a name and no other parameter has it.
///
/// The names are marked as generated code, so that no lint checks them. One that a setting uses keeps its own mark, because it
/// may come from another macro than the attribute.
fn named<'a>(function: &'a Function, settings: &Settings) -> Vec<(&'a Parameter, Ident)> {
    let mut taken: Vec<&Ident> = Vec::new();
    let parameters = function.parameters.iter().enumerate();
    let named = parameters.map(|(index, parameter)| {
        let name = match parameter.name() {
            Some(name) if !taken.contains(&name) => {
                taken.push(name);
                let mut name = name.clone();
                if !function.is_in_setting(parameter, settings) {
                    name.set_span(Span::call_site().located_at(name.span()));
                }
                name
            }
            _ => format_ident!("__poolhouse_{index}"),
        };
        (parameter, name)
    });
    named.collect()
}
