//! The last stage: the generated code.
//!
//! It is one inner `async fn` with the user's own signature and body, and one call into the runtime:
//!
//! ```text
//! fn main() -> Result<()> {
//!     async fn __poolhouse_body(db: PgEngine) -> Result<()> { … }
//!     ::poolhouse::__private::Attribute::new(env!("CARGO_PKG_NAME"), ::poolhouse::Settings::attribute().max_size(20))
//!         .block_on((::poolhouse::__private::parameter::<PgEngine>(),), |(db,)| __poolhouse_body(db))
//! }
//! ```
//!
//! All attributes of the user stay on the outer function, in their order. It has the user's name, so documentation,
//! `#[instrument]` and runtime attributes belong there; and levels of lints reach the inner function because it is
//! inside.
//!
//! Every generated path begins with `::`, so nothing that the user names `poolhouse`, `core` or `Result` is in its way.

use crate::check::Job;
use crate::function::{Function, Parameter, Position};
use crate::mend::mend;
use crate::settings::{Directory, Setting, Settings, Value};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::token::Brace;
use syn::{GenericParam, Path, ReturnType, Signature, parse_quote};

pub(crate) fn expand(job: Job) -> TokenStream {
    match job {
        Job::Expand(function, settings) => Expansion::new(&function, &settings).function(),
        Job::Mend(function) => mend(&function),
        Job::Keep(item) => item,
    }
}

/// What the parts of one expansion have in common.
struct Expansion<'a> {
    function: &'a Function,
    settings: &'a Settings,
    runtime_crate: Path,
    /// The parameters in the user's order, each with the name that the generated code gives it.
    parameters: Vec<(&'a Parameter, Ident)>,
    body: Ident,
}

impl<'a> Expansion<'a> {
    fn new(function: &'a Function, settings: &'a Settings) -> Self {
        Expansion {
            function,
            settings,
            runtime_crate: settings
                .runtime_crate
                .clone()
                .unwrap_or_else(|| parse_quote!(::poolhouse)),
            parameters: named(&function.parameters),
            body: format_ident!("__poolhouse_body", span = function.signature.ident.span()),
        }
    }

    /// The user's attributes and header around the inner function and the call.
    ///
    /// The parentheses and the braces are at the places of the user's own: what the compiler says about the function
    /// is said about what was written.
    fn function(&self) -> TokenStream {
        let Function {
            attrs,
            visibility,
            signature,
            body,
            position,
            ..
        } = self.function;
        let Signature {
            asyncness,
            fn_token,
            ident,
            generics,
            paren_token,
            output,
            ..
        } = signature;
        let asyncness = if matches!(position, Position::Main) {
            &None
        } else {
            asyncness
        };
        let clause = &generics.where_clause;
        let callers = self
            .parameters
            .iter()
            .filter(|(parameter, _)| !self.function.fills(parameter));
        let callers = callers.map(|(parameter, name)| {
            let ty = &parameter.typed.ty;
            quote!(#name: #ty)
        });
        let mut tokens = quote!(#(#attrs)* #visibility #asyncness #fn_token #ident #generics);
        paren_token.surround(&mut tokens, |tokens| tokens.extend(quote!(#(#callers),*)));
        tokens.extend(quote!(#output #clause));
        let (body_function, call) = (body_function(self.function, &self.body), self.call());
        Brace(body.span()).surround(&mut tokens, |tokens| {
            // Lints about a signature are about the outer function, whose signature is the same; and the body must be
            // async even when it awaits nothing.
            tokens.extend(quote! {
                #[allow(clippy::fn_params_excessive_bools, clippy::future_not_send, clippy::too_many_arguments, clippy::too_many_lines, clippy::unused_async)]
                #body_function
                #call
            });
        });
        tokens
    }

    /// `Attribute::new(…).block_on((parameter(), …), |(a, …)| __poolhouse_body(a, …))`
    fn call(&self) -> TokenStream {
        let runtime_crate = &self.runtime_crate;
        let settings = self.settings(self.settings);
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
        // A return type that the runtime cannot handle is reported where it is written.
        let span = match &self.function.signature.output {
            ReturnType::Default => Span::call_site(),
            ReturnType::Type(_, ty) => Span::call_site().located_at(ty.span()),
        };
        let run = match self.function.position {
            Position::Main => quote_spanned!(span=> .block_on(#sources, |#names| #body)),
            Position::MainUnder(_) => quote_spanned!(span=> .main(#sources, |#names| #body).await),
            // The caller's parameters move into the body.
            _ => quote_spanned!(span=> .lifespan(#sources, move |#names| #body).await),
        };
        let attribute = quote_spanned!(span=> __poolhouse);
        quote! {
            let #attribute = #runtime_crate::__private::Attribute::new(::core::env!("CARGO_PKG_NAME"), #settings);
            #attribute #run
        }
    }

    /// `::poolhouse::__private::parameter::<PgEngine>()`, at the place of the type.
    fn source(&self, parameter: &Parameter) -> TokenStream {
        let runtime_crate = &self.runtime_crate;
        let ty = &parameter.typed.ty;
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
        let runtime_crate = &self.runtime_crate;
        let setters = settings.list.iter().map(setter);
        quote!(#runtime_crate::Settings::attribute() #(#setters)*)
    }

    /// `__poolhouse_body::<T>(app, db)`: types and constants are named because nothing may tell them; lifetimes are
    /// left out because those that are bound late cannot be named.
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
        let turbofish = if generics.is_empty() {
            None
        } else {
            Some(quote!(::<#(#generics),*>))
        };
        let names = self.parameters.iter().map(|(_, name)| name);
        quote!(#body #turbofish (#(#names),*))
    }
}

/// The user's function under another name: its own signature without `#[pool]`, its own body.
pub(crate) fn body_function(function: &Function, name: &Ident) -> TokenStream {
    let Signature {
        safety,
        fn_token,
        generics,
        paren_token,
        output,
        ..
    } = &function.signature;
    let asyncness = function
        .signature
        .asyncness
        .unwrap_or(syn::Token![async](fn_token.span));
    let clause = &generics.where_clause;
    let parameters = function.parameters.iter().map(|parameter| &parameter.typed);
    let body = &function.body;
    let mut tokens = quote!(#asyncness #safety #fn_token #name #generics);
    paren_token.surround(&mut tokens, |tokens| {
        tokens.extend(quote!(#(#parameters),*))
    });
    tokens.extend(quote!(#output #clause #body));
    tokens
}

/// A name for each parameter: its own where the pattern is no more than a name that no other parameter has.
///
/// The names carry the mark of generated code, so that no lint is about them.
fn named(parameters: &[Parameter]) -> Vec<(&Parameter, Ident)> {
    let mut taken: Vec<&Ident> = Vec::new();
    let named = parameters.iter().enumerate().map(|(index, parameter)| {
        let name = match parameter.name() {
            Some(name) if !taken.contains(&name) => {
                taken.push(name);
                let mut name = name.clone();
                name.set_span(Span::call_site().located_at(name.span()));
                name
            }
            _ => format_ident!("__poolhouse_{index}"),
        };
        (parameter, name)
    });
    named.collect()
}

/// `.max_size(20)`: all of it but the value at the place of the key, which is the place that the runtime reports.
fn setter(Setting { key, spec, value }: &Setting) -> TokenStream {
    let span = key.span();
    let (name, arguments) = match value {
        Value::Text(_, expr)
        | Value::Number(_, expr)
        | Value::Flag(_, expr)
        | Value::Code(expr) => (spec.name, expr.to_token_stream()),
        Value::List(list) => (spec.name, quote!([#(#list),*])),
        Value::Static(path) => (spec.name, quote!(&#path)),
        Value::Directory(directory) => ("embedded_migrations", embedded(directory)),
        // Kept apart in `Settings::runtime_crate`, never in the list.
        Value::CratePath(path) => (spec.name, path.to_token_stream()),
    };
    let name = Ident::new(name, span);
    quote_spanned!(span=> .#name(#arguments))
}

/// `"migrations", &[("0001_bands.sql", include_str!(…)), …]`
fn embedded(directory: &Directory) -> TokenStream {
    let written = &directory.written;
    let files = directory.files.iter().map(|name| {
        let path = format!("{}/{name}", written.value().trim_end_matches('/'));
        let path = if directory.is_absolute() {
            quote!(#path)
        } else {
            let path = format!("/{path}");
            quote!(::core::concat!(::core::env!("CARGO_MANIFEST_DIR"), #path))
        };
        quote_spanned!(written.span()=> (#name, ::core::include_str!(#path)))
    });
    quote!(#written, &[#(#files),*])
}
