//! The first stage: the tokens between the attribute's parentheses become keys with values.
//!
//! This stage does not know which settings exist. After a syntax error, reading continues after the next comma, so that
//! one broken entry does not hide the next.

use crate::report::Report;
use proc_macro2::{TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::discouraged::Speculative;
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Expr, Ident, LitStr, Token, parenthesized};

/// One `key = value` or `key(value, …)`.
pub(crate) struct Arg {
    pub(crate) key: Ident,
    pub(crate) value: Value,
}

/// The value after a key.
pub(crate) enum Value {
    /// Nothing: `lazy`
    None,
    /// Nothing yet: the half-typed `lazy =`
    Missing,
    /// `key = expression`
    One(Box<Expr>),
    /// `key(expression, …)`
    Many(Vec<Expr>),
}

/// The names of an attribute's entries in messages.
pub(crate) struct Wording {
    /// With its article.
    pub(crate) entry: &'static str,
    pub(crate) example: &'static str,
    /// The end of the message "expected a setting" for a quoted text that stands alone.
    pub(crate) quoted: &'static str,
}

pub(crate) const SETTINGS: Wording = Wording {
    entry: "a setting",
    example: "`max_size = 20`",
    quoted: "; the URL is one: `url = \"postgres://localhost/bands\"`",
};

/// Reads `key = value, key(value, …), …`; what cannot be read is reported and skipped.
pub(crate) fn parse(tokens: TokenStream, wording: &Wording, report: &mut Report) -> Vec<Arg> {
    let read = |input: ParseStream| Ok(entries(input, wording, report));
    // `entries` consumes its whole input and reports for itself, so this never falls back.
    read.parse2(tokens).unwrap_or_default()
}

fn entries(input: ParseStream, wording: &Wording, report: &mut Report) -> Vec<Arg> {
    let mut args = Vec::new();
    while !input.is_empty() {
        let ahead = input.fork();
        let mistake = match entry(&ahead, wording) {
            Ok(arg) => {
                input.advance_to(&ahead);
                let unexpected = format!("expected `,` after the value of `{}`", arg.key);
                args.push(arg);
                if input.is_empty() || input.peek(Token![,]) {
                    None
                } else {
                    Some(input.error(unexpected))
                }
            }
            Err(mistake) => Some(mistake),
        };
        if let Some(mistake) = mistake {
            report.add(mistake);
            skip_to_comma(input);
        }
        // Both branches stop at a comma or at the end, so this never fails, but the loop must not depend on that.
        if input.parse::<Option<Token![,]>>().is_err() {
            break;
        }
    }
    args
}

fn entry(input: ParseStream, wording: &Wording) -> syn::Result<Arg> {
    if input.peek(LitStr) {
        let quoted: LitStr = input.parse()?;
        return Err(syn::Error::new_spanned(
            &quoted,
            not_a_name(&quoted, input, wording),
        ));
    }
    let Ok(key) = input.call(Ident::parse_any) else {
        let Wording { entry, example, .. } = wording;
        return Err(input.error(format!("expected {entry}, such as {example}")));
    };
    let value = value(&key, input, wording)?;
    Ok(Arg { key, value })
}

/// The message for a quoted name or a quoted URL where a name is expected.
fn not_a_name(quoted: &LitStr, behind: ParseStream, wording: &Wording) -> String {
    let entry = wording.entry;
    if behind.peek(Token![=]) {
        format!(
            "{entry}'s name is written without quotes: `{} = …`",
            quoted.value()
        )
    } else {
        format!("expected {entry}{}", wording.quoted)
    }
}

fn value(key: &Ident, input: ParseStream, wording: &Wording) -> syn::Result<Value> {
    if input.peek(syn::token::Paren) {
        let list;
        parenthesized!(list in input);
        let values = list.call(Punctuated::<Expr, Token![,]>::parse_terminated)?;
        return Ok(Value::Many(values.into_iter().collect()));
    }
    if input.peek(Token![:]) || input.peek(Token![==]) || input.peek(Token![=>]) {
        let entry = wording.entry;
        return Err(input.error(format!("{entry} is written with `=`: `{key} = …`")));
    }
    if input.is_empty() || input.peek(Token![,]) {
        return Ok(Value::None);
    }
    if input.parse::<Option<Token![=]>>()?.is_none() {
        return Err(input.error(format!("expected `=` after `{key}`")));
    }
    if input.is_empty() || input.peek(Token![,]) {
        return Ok(Value::Missing);
    }
    input.parse().map(Value::One)
}

fn skip_to_comma(input: ParseStream) {
    while !input.is_empty() && !input.peek(Token![,]) && input.parse::<TokenTree>().is_ok() {}
}
