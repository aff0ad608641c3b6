//! The function under `#[transactional]`, and its transaction parameter.

use crate::function::Raw;
use crate::report::Report;
use proc_macro2::{TokenStream, TokenTree};
use quote::quote;
use syn::{
    Attribute, FnArg, GenericArgument, Ident, Pat, PatIdent, PatType, PathArguments, PathSegment,
    Receiver, Signature, Type, TypePath, TypeReference, Visibility,
};

/// The attributed function, as written.
pub(crate) struct Method {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    /// Without its parameters, which are in `receiver` and `parameters`.
    pub(crate) signature: Signature,
    pub(crate) receiver: Option<Receiver>,
    pub(crate) parameters: Vec<PatType>,
    pub(crate) body: TokenTree,
}

impl Method {
    /// Reads the item; one that is not a function with a body is reported and returned unchanged.
    pub(crate) fn parse(item: TokenStream, report: &mut Report) -> Result<Method, TokenStream> {
        if let Some(end) = declaration(&item) {
            let message = "`#[transactional]` goes on a function with a body; a trait's method has its body, and the attribute, in a \
                           free function or in an inherent method that it calls";
            report.mistake(end, message);
            return Err(item);
        }
        let Raw {
            attrs,
            visibility,
            mut signature,
            body,
        } = Raw::read("transactional", item, report)?;
        let mut receiver = None;
        let mut parameters = Vec::new();
        for input in std::mem::take(&mut signature.inputs) {
            match input {
                FnArg::Receiver(own) => receiver = Some(own),
                FnArg::Typed(typed) => parameters.push(typed),
            }
        }
        Ok(Method {
            attrs,
            visibility,
            signature,
            receiver,
            parameters,
            body,
        })
    }

    /// The indexes of the parameters that are transactions, or should be.
    ///
    /// A type whose name only ends in `Transaction` may be an alias of poolhouse's type, or the user's own type, such as
    /// `&BankTransaction`. It is the user's own beside a `&mut Transaction`, and it is also the user's own when it is no `&mut`
    /// reference and another parameter is one.
    pub(crate) fn transactions(&self) -> Vec<usize> {
        let parameters = self.parameters.iter().enumerate();
        let named: Vec<_> = parameters
            .filter_map(|(index, typed)| Some((index, Named::of(&typed.ty)?)))
            .collect();
        let is_sure = named.iter().any(|(_, it)| it.is_exact && it.is_mutable);
        let is_mutable = named.iter().any(|(_, it)| it.is_mutable);
        let meant = named
            .iter()
            .filter(|(_, it)| it.is_exact || !is_sure && (it.is_mutable || !is_mutable));
        meant.map(|(index, _)| *index).collect()
    }
}

/// The signature of a function without a body.
fn declaration(item: &TokenStream) -> Option<TokenStream> {
    let declared = syn::parse2::<syn::TraitItemFn>(item.clone()).ok()?;
    declared.default.is_none().then(|| {
        let signature = &declared.sig;
        quote!(#signature)
    })
}

/// How the type of a parameter names a transaction.
struct Named {
    /// The name is `Transaction`, and does not only end in it.
    is_exact: bool,
    is_mutable: bool,
}

impl Named {
    fn of(ty: &Type) -> Option<Named> {
        let transaction = Transaction::of(ty)?;
        Some(Named {
            is_exact: last_ident(ty).is_some_and(|last| last == "Transaction"),
            is_mutable: !matches!(transaction, Transaction::NotMutable(_)),
        })
    }
}

/// The last segment of a path, also behind references.
pub(crate) fn last_ident(ty: &Type) -> Option<&Ident> {
    match inner(ty) {
        Type::Reference(reference) => last_ident(&reference.elem),
        Type::Path(TypePath { path, .. }) => path.segments.last().map(|last| &last.ident),
        _ => None,
    }
}

/// The type of a parameter that names a transaction.
#[derive(Clone, Copy)]
pub(crate) enum Transaction<'a> {
    /// `&mut Transaction<DB>`: the type behind the reference.
    Ours(&'a TypePath),
    /// With a lifetime of its own: `&'a mut Transaction<DB>`
    Named(&'a TypeReference),
    /// sqlx's, which has a lifetime as an argument.
    Sqlx,
    /// `&Transaction<DB>`, `Transaction<DB>`
    NotMutable(&'a TypePath),
}

impl Transaction<'_> {
    pub(crate) fn of(ty: &Type) -> Option<Transaction<'_>> {
        let (path, reference) = match inner(ty) {
            Type::Reference(reference) => match inner(&reference.elem) {
                Type::Path(path) => (path, Some(reference)),
                _ => return None,
            },
            Type::Path(path) => (path, None),
            _ => return None,
        };
        let last = path.path.segments.last()?;
        // An alias such as `PgTransaction`, too.
        if !last.ident.to_string().ends_with("Transaction") || last.ident == "RequestTransaction" {
            return None;
        }
        Some(match reference {
            _ if is_of_sqlx(path, last) => Transaction::Sqlx,
            Some(reference) if reference.mutability.is_none() => Transaction::NotMutable(path),
            Some(reference)
                if reference
                    .lifetime
                    .as_ref()
                    .is_some_and(|it| it.ident != "_") =>
            {
                Transaction::Named(reference)
            }
            Some(_) => Transaction::Ours(path),
            None => Transaction::NotMutable(path),
        })
    }
}

fn is_of_sqlx(path: &TypePath, last: &PathSegment) -> bool {
    let is_named = path
        .path
        .segments
        .first()
        .is_some_and(|first| first.ident == "sqlx");
    let has_lifetime = match &last.arguments {
        PathArguments::AngleBracketed(arguments) => {
            let mut arguments = arguments.args.iter();
            arguments.any(|argument| matches!(argument, GenericArgument::Lifetime(_)))
        }
        _ => false,
    };
    is_named || has_lifetime
}

/// The type inside parentheses and invisible groups; a macro's `$ty` is in an invisible group.
pub(crate) fn inner(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => inner(&group.elem),
        Type::Paren(paren) => inner(&paren.elem),
        ty => ty,
    }
}

/// The name of a parameter whose pattern is only a name, with or without `mut`.
pub(crate) fn name(typed: &PatType) -> Option<&Ident> {
    match &*typed.pat {
        Pat::Ident(PatIdent {
            by_ref: None,
            subpat: None,
            ident,
            ..
        }) => Some(ident),
        _ => None,
    }
}
