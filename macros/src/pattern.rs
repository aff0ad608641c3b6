//! The variables of a pattern.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Ident, Pat};

/// A variable that a pattern binds: its name, and the pattern that binds only this variable.
pub(crate) struct Binding<'a> {
    pub(crate) name: &'a Ident,
    pub(crate) pat: TokenStream,
}

/// The variables that a pattern binds.
pub(crate) fn bindings(pat: &Pat) -> Vec<Binding<'_>> {
    match pat {
        Pat::Ident(pat) => {
            let name = &pat.ident;
            let mutability = pat.by_ref.is_none().then_some(pat.mutability).flatten();
            let binding = Binding {
                name,
                pat: quote!(#mutability #name),
            };
            // A unit struct is written like a variable.
            let is_variable = !name.to_string().starts_with(char::is_uppercase);
            let inside = pat.subpat.iter().flat_map(|(_, inner)| bindings(inner));
            is_variable
                .then_some(binding)
                .into_iter()
                .chain(inside)
                .collect()
        }
        Pat::Paren(pat) => bindings(&pat.pat),
        Pat::Reference(pat) => bindings(&pat.pat),
        Pat::Type(pat) => bindings(&pat.pat),
        Pat::Tuple(pat) => pat.elems.iter().flat_map(bindings).collect(),
        Pat::TupleStruct(pat) => pat.elems.iter().flat_map(bindings).collect(),
        Pat::Slice(pat) => pat.elems.iter().flat_map(bindings).collect(),
        Pat::Struct(pat) => pat
            .fields
            .iter()
            .flat_map(|field| bindings(&field.pat))
            .collect(),
        // Each case binds the same variables.
        Pat::Or(pat) => pat.cases.first().map(bindings).unwrap_or_default(),
        _ => Vec::new(),
    }
}
