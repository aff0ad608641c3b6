//! Checks the function, and whether the arguments fit it.

use super::arguments::Arguments;
use super::method::{Method, Transaction, inner, last_ident, name};
use crate::check::{check_qualifiers, second, spelled};
use crate::report::Report;
use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{
    GenericArgument, PathArguments, ReceiverKind, ReturnType, Type, TypeParamBound, TypePath,
    TypeReference, TypeTraitObject,
};

/// The result of the checks, which decides what is emitted.
pub(crate) enum CheckedTransactional {
    /// A function that can be expanded. Arguments with mistakes are left out already.
    Method(Method, Arguments),
    /// A function with mistakes, or without a known path into poolhouse.
    Mistaken(Method),
    /// An item that is not a function.
    Other(TokenStream),
}

pub(crate) fn check(
    method: Result<Method, TokenStream>,
    arguments: Arguments,
    report: &mut Report,
) -> CheckedTransactional {
    let method = match method {
        Ok(method) => method,
        Err(item) => return CheckedTransactional::Other(item),
    };
    let before = report.len();
    let signature = &method.signature;
    if signature.asyncness.is_none() {
        let name = &signature.ident;
        let message = format!("`#[transactional]` goes on an `async fn`: `async fn {name}`");
        report.mistake(signature.fn_token, message);
    }
    check_qualifiers("transactional", signature, report);
    if let Some(second) = second("transactional", &method.attrs) {
        report.mistake(
            second,
            "`#[transactional]` stands on this function twice; write all arguments in one",
        );
    }
    check_transaction(&method, report);
    if !arguments.runs_once() {
        check_repeated(&method, report);
    }
    for typed in &method.parameters {
        if let Some(conditional) = typed.attrs.iter().find(|attr| attr.path().is_ident("cfg")) {
            let message = "a parameter under `#[transactional]` cannot depend on `#[cfg]`; write two functions and put `#[cfg]` on each";
            report.mistake(conditional, message);
        }
    }
    check_output(&method, report);
    if report.len() > before || arguments.is_crate_unknown {
        CheckedTransactional::Mistaken(method)
    } else {
        CheckedTransactional::Method(method, arguments)
    }
}

fn check_transaction(method: &Method, report: &mut Report) {
    let indexes = method.transactions();
    let Some((first, others)) = indexes.split_first() else {
        return report.mistake(&method.signature.ident, without_transaction(method));
    };
    for other in others {
        let (first, other) = (&method.parameters[*first].pat, &method.parameters[*other]);
        let message = format!(
            "`{}` is a second transaction, besides `{}`; a function has one, which its caller begins or passes on",
            spelled(&other.pat),
            spelled(first)
        );
        report.mistake(other, message);
    }
    let typed = &method.parameters[*first];
    let pat = spelled(&typed.pat);
    let message = match Transaction::of(&typed.ty) {
        None | Some(Transaction::Ours(_)) => return,
        Some(Transaction::Named(reference)) => {
            let mut reference = reference.clone();
            reference.lifetime = None;
            format!(
                "the transaction lives for this call alone, so its lifetime has no name: `{pat}: {}`",
                spelled(&reference)
            )
        }
        Some(Transaction::Sqlx) => format!(
            "`#[transactional]` begins a transaction of poolhouse; take `{pat}: &mut poolhouse::Transaction<{}>`, which is an executor too",
            database(&typed.ty).unwrap_or("Postgres".to_owned())
        ),
        Some(Transaction::NotMutable(path)) => {
            format!(
                "the transaction is borrowed, so write `{pat}: &mut {}`",
                spelled(path)
            )
        }
    };
    report.mistake(&typed.ty, message);
}

/// The database that a type names as its last argument.
fn database(ty: &Type) -> Option<String> {
    let text = spelled(ty);
    let arguments = text.rsplit_once('<')?.1.split('>').next()?;
    let last = arguments.rsplit(',').next()?.trim();
    (!last.is_empty() && !last.starts_with('\'')).then(|| last.to_owned())
}

fn without_transaction(method: &Method) -> String {
    let take = "`tx: &mut Transaction<Postgres>`";
    let passed = "callers pass `&db`, or a transaction that they are in";
    let engine = method.parameters.iter().find(|typed| {
        let last = last_ident(&typed.ty);
        last.is_some_and(|last| {
            last.to_string().ends_with("Engine") || last == "Pool" || last == "PgPool"
        })
    });
    match engine {
        Some(engine) => format!(
            "`#[transactional]` needs a parameter for the transaction: {take} in place of `{}`; {passed}",
            spelled(engine)
        ),
        None => {
            format!("`#[transactional]` needs a parameter for the transaction: {take}; {passed}")
        }
    }
}

/// Reports parameters that cannot be passed again when the function is run again.
fn check_repeated(method: &Method, report: &mut Report) {
    const CURE: &str = "or write `retries = 0`";
    if let Some(receiver) = &method.receiver
        && is_borrowed_for_writing(&receiver.kind)
    {
        let message =
            format!("`&mut self` cannot be had again for another try; take `&self`, {CURE}");
        report.mistake(receiver, message);
    }
    let transactions = method.transactions();
    for (index, typed) in method.parameters.iter().enumerate() {
        if !transactions.contains(&index)
            && let Type::Reference(TypeReference {
                mutability: Some(_),
                elem,
                ..
            }) = inner(&typed.ty)
        {
            let argument =
                name(typed).map_or("this argument".to_owned(), |name| format!("`{name}`"));
            let message = format!(
                "{argument} cannot be had again for another try; take `&{}`, return what it collects, {CURE}",
                spelled(elem)
            );
            report.mistake(&typed.ty, message);
        }
    }
}

/// Whether the receiver is `&mut self` or `self: &mut Self`.
fn is_borrowed_for_writing(kind: &ReceiverKind) -> bool {
    match kind {
        ReceiverKind::Reference(_, _, mutability) => mutability.is_some(),
        ReceiverKind::Typed(_, ty) => {
            matches!(
                inner(ty),
                Type::Reference(TypeReference {
                    mutability: Some(_),
                    ..
                })
            )
        }
        _ => false,
    }
}

/// Types that are certainly no `Result`.
const NO_RESULTS: &[&str] = &[
    "Option", "Vec", "String", "Box", "bool", "i8", "i16", "i32", "i64", "i128", "isize", "u8",
    "u16", "u32", "u64", "u128", "usize", "f32", "f64", "char", "str",
];

fn check_output(method: &Method, report: &mut Report) {
    let cure = "the transaction is committed after `Ok` and rolled back after `Err`";
    match &method.signature.output {
        ReturnType::Default => {
            let message = format!(
                "the function must return a `Result`, such as `-> sqlx::Result<()>`: {cure}"
            );
            report.mistake(&method.signature.ident, message);
        }
        ReturnType::Type(_, ty) => {
            let is_none = match inner(ty) {
                Type::Path(_) => {
                    last_ident(ty).is_some_and(|last| NO_RESULTS.iter().any(|none| last == none))
                }
                Type::Tuple(_)
                | Type::Reference(_)
                | Type::Array(_)
                | Type::Slice(_)
                | Type::Never(_) => true,
                _ => false,
            };
            if is_none {
                let ty = ty.to_token_stream();
                let message = format!(
                    "the function must return a `Result`, such as `-> sqlx::Result<{}>`: {cure}",
                    spelled(&ty)
                );
                report.mistake(ty, message);
            }
            if let Some(object) = error_not_send(ty) {
                let message = format!(
                    "the error must be `Send`, because a transaction's future is; write `Box<{} + Send + Sync>`",
                    spelled(object)
                );
                report.mistake(object, message);
            }
        }
    }
}

/// The `dyn Error` without `Send` of a `Result<T, Box<dyn Error>>`.
fn error_not_send(output: &Type) -> Option<&TypeTraitObject> {
    let [_, error] = *type_arguments("Result", output)? else {
        return None;
    };
    let [object] = *type_arguments("Box", error)? else {
        return None;
    };
    let Type::TraitObject(object) = inner(object) else {
        return None;
    };
    let mut bounds = object.bounds.iter().filter_map(|bound| match bound {
        TypeParamBound::Trait(bound) => bound.path.segments.last(),
        _ => None,
    });
    // Any further bound may be one that is `Send`.
    let is_error = bounds.next().is_some_and(|bound| bound.ident == "Error");
    (is_error && bounds.next().is_none()).then_some(object)
}

/// The types between the angle brackets of a type of this name.
fn type_arguments<'a>(name: &str, ty: &'a Type) -> Option<Vec<&'a Type>> {
    let Type::Path(TypePath { path, .. }) = inner(ty) else {
        return None;
    };
    let last = path.segments.last().filter(|last| last.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    let arguments = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    Some(arguments.collect())
}
