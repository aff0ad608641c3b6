//! The third stage: the item under the attribute becomes a function with a position and parameters.
//!
//! Only the signature is parsed; the body stays a token tree. So half-typed code still expands, for editors to analyse.

use crate::args;
use crate::position::{Position, position};
use crate::report::Report;
use crate::settings::{On, Settings, local_file};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::quote;
use std::path::{Path, PathBuf};
use syn::parse::{Parse, ParseStream};
use syn::{
    Attribute, FnArg, Ident, Meta, Pat, PatType, Receiver, Signature, Visibility, parse_quote,
};

/// The attributed function, as written.
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    /// Without its parameters, which are in `receiver` and `parameters`.
    pub(crate) signature: Signature,
    pub(crate) receiver: Option<Receiver>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) body: TokenTree,
    pub(crate) position: Position,
}

/// One parameter, without its `#[pool]`.
pub(crate) struct Parameter {
    pub(crate) typed: PatType,
    /// Set when the parameter carries `#[pool]` or `#[pool(…)]`.
    pub(crate) pool: Option<Settings>,
}

impl Function {
    /// Reads the item; one that is not a function with a body is reported and returned unchanged.
    pub(crate) fn parse(item: TokenStream, report: &mut Report) -> Result<Function, TokenStream> {
        Raw::read("with_pool", item, report).map(|raw| raw.into_function(report))
    }
}

/// A function whose body is one token tree.
pub(crate) struct Raw {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    pub(crate) body: TokenTree,
}

impl Parse for Raw {
    fn parse(input: ParseStream) -> syn::Result<Raw> {
        Ok(Raw {
            attrs: input.call(Attribute::parse_outer)?,
            visibility: input.parse()?,
            signature: input.parse()?,
            body: input.call(braces)?,
        })
    }
}

/// The group in braces, which a macro's `$body:block` wraps in an invisible one.
fn braces(input: ParseStream) -> syn::Result<TokenTree> {
    let mut tree: TokenTree = input.parse()?;
    while let TokenTree::Group(group) = &tree {
        match group.delimiter() {
            Delimiter::Brace => return Ok(tree),
            Delimiter::None => match group.stream().into_iter().next() {
                Some(inner) => tree = inner,
                None => break,
            },
            Delimiter::Parenthesis | Delimiter::Bracket => break,
        }
    }
    Err(syn::Error::new_spanned(
        tree,
        "expected the body of a function",
    ))
}

/// The source file of a function's name, which a `macro_rules!` of another file most often gets from its caller.
pub(crate) fn source_file(item: &TokenStream) -> Option<PathBuf> {
    let mut tokens = item.clone().into_iter();
    tokens.find(|token| matches!(token, TokenTree::Ident(word) if word == "fn"))?;
    local_file(tokens.next()?.span())
}

impl Raw {
    /// Reads the item under an attribute; one that is not a function with a body is reported and returned unchanged.
    pub(crate) fn read(
        attribute: &str,
        item: TokenStream,
        report: &mut Report,
    ) -> Result<Raw, TokenStream> {
        syn::parse2(item.clone()).map_err(|mistake: syn::Error| {
            let message = format!("`#[{attribute}]` goes on an `async fn` with a body ({mistake})");
            report.add(syn::Error::new(mistake.span(), message));
            item
        })
    }

    fn into_function(mut self, report: &mut Report) -> Function {
        let source = local_file(self.signature.ident.span());
        let mut receiver = None;
        let mut parameters = Vec::new();
        for input in std::mem::take(&mut self.signature.inputs) {
            match input {
                FnArg::Receiver(mut own) => {
                    // The receiver is reported as a mistake; the mark on it need not be another one.
                    own.attrs.retain(|attr| !is_pool(attr));
                    receiver = Some(own);
                }
                FnArg::Typed(typed) => {
                    parameters.push(parameter(typed, source.as_deref(), report));
                }
            }
        }
        let position = position(&self.attrs, &self.signature, receiver.is_some());
        let Raw {
            attrs,
            visibility,
            signature,
            body,
        } = self;
        Function {
            attrs,
            visibility,
            signature,
            receiver,
            parameters,
            body,
            position,
        }
    }
}

/// Removes `#[pool]` from a parameter and reads its settings.
fn parameter(mut typed: PatType, source: Option<&Path>, report: &mut Report) -> Parameter {
    let (marks, others): (Vec<_>, Vec<_>) = typed.attrs.into_iter().partition(is_pool);
    typed.attrs = others;
    if let Some(second) = marks.get(1) {
        report.mistake(second, "`#[pool]` stands on this parameter twice; keep one");
    }
    let pool = marks.first().map(|mark| {
        let tokens = match &mark.meta {
            Meta::Path(_) => TokenStream::new(),
            Meta::List(list) => list.tokens.clone(),
            Meta::NameValue(_) => {
                report.mistake(mark, "settings of a parameter are written in parentheses: `#[pool(engine = \"reports\")]`");
                TokenStream::new()
            }
        };
        let args = args::parse(tokens, &args::SETTINGS, report);
        Settings::check(args, On::Parameter, source, report)
    });
    Parameter { typed, pool }
}

/// Whether an attribute of a parameter is a lint level, which belongs where the body uses the parameter.
pub(crate) fn is_lint_level(attr: &Attribute) -> bool {
    let levels = ["allow", "expect", "warn", "deny", "forbid"];
    levels.iter().any(|level| attr.path().is_ident(level))
}

pub(crate) fn is_pool(attr: &Attribute) -> bool {
    attr.path().is_ident("pool")
}

impl Parameter {
    /// The name, when the pattern is an identifier.
    pub(crate) fn name(&self) -> Option<&Ident> {
        match &*self.typed.pat {
            Pat::Ident(pat) => Some(&pat.ident),
            _ => None,
        }
    }
}

impl Function {
    /// Whether poolhouse fills in every parameter, marked or not: `main` and a test have no callers.
    pub(crate) fn fills_every_parameter(&self) -> bool {
        match &self.position {
            Position::Main | Position::MainUnder(_) => true,
            Position::Test(test) => test.parameters_from.is_none(),
            Position::Lifespan => false,
        }
    }

    /// Whether poolhouse fills in this parameter; callers pass the others.
    pub(crate) fn fills(&self, parameter: &Parameter) -> bool {
        self.fills_every_parameter() || parameter.pool.is_some()
    }

    /// Whether another attribute of the test, such as `#[rstest]`, gives this parameter its values.
    pub(crate) fn is_given(&self, parameter: &Parameter) -> bool {
        matches!(self.position, Position::Test(_)) && !self.fills(parameter)
    }

    /// Whether `#[rstest]` gives the body a future of the written type: for `#[future]`, unless `#[future(awt)]` or the function's
    /// `#[awt]` awaits it.
    fn is_future(&self, typed: &PatType) -> bool {
        let is_plain = |attr: &Attribute| match &attr.meta {
            Meta::Path(path) => path.is_ident("future"),
            Meta::List(list) => list.path.is_ident("future") && list.tokens.is_empty(),
            Meta::NameValue(_) => false,
        };
        let is_awaited = self.attrs.iter().any(|attr| attr.path().is_ident("awt"));
        !is_awaited && typed.attrs.iter().any(is_plain)
    }

    /// Whether a setting uses this parameter of the caller's.
    pub(crate) fn is_in_setting(&self, parameter: &Parameter, settings: &Settings) -> bool {
        let others = self.parameters.iter();
        let others = others.filter_map(|parameter| parameter.pool.as_ref());
        let mut all = others.chain([settings]);
        let mut uses = |name| all.any(|settings| settings.mentions(name));
        !self.fills(parameter) && parameter.name().is_some_and(&mut uses)
    }

    /// The function under another name: its own signature without `#[pool]`, its own body. There is no warning that a
    /// parameter of `is_used` is not used, when the body does not mention it. Another one gets no `allow`, which is an error
    /// under `forbid`.
    pub(crate) fn inner(&self, name: &Ident, is_used: impl Fn(&Parameter) -> bool) -> TokenStream {
        let mut signature = self.signature.clone();
        signature.ident = name.clone();
        let inputs = self.parameters.iter().map(|parameter| {
            let mut typed = parameter.typed.clone();
            if self.is_given(parameter) {
                if self.is_future(&typed) {
                    let output = &typed.ty;
                    typed.ty = parse_quote!(impl ::core::future::Future<Output = #output>);
                }
                typed.attrs.retain(is_lint_level);
            }
            let in_body = |name| crate::settings::uses(name, TokenStream::from(self.body.clone()));
            if is_used(parameter) && !parameter.name().is_some_and(in_body) {
                let allow = parse_quote!(#[allow(unused_variables)]);
                typed.attrs.insert(0, allow);
            }
            FnArg::Typed(typed)
        });
        signature.inputs = inputs.collect();
        let body = &self.body;
        quote!(#signature #body)
    }

    /// The parts of the signature that can mention a type.
    pub(crate) fn header_tokens(&self) -> TokenStream {
        let Signature {
            generics, output, ..
        } = &self.signature;
        let clause = &generics.where_clause;
        let types = self.parameters.iter().map(|parameter| &parameter.typed.ty);
        quote!(#generics #(#types)* #output #clause)
    }
}
