//! The arguments of `#[transactional]`: their names, their values, and which exclude each other.

use crate::args::{Arg, Value};
use crate::report::Report;
use crate::setters::kept;
use crate::settings::literal::{self, Literal, bare};
use crate::settings::uses;
use crate::table::closest;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use std::time::Duration;
use syn::spanned::Spanned;
use syn::{Expr, ExprAssign, ExprPath, LitStr, Path};

/// The arguments, in the order of the documentation, each with a use of it for messages.
const KNOWN: &[(&str, &str)] = &[
    ("isolation", "isolation = \"serializable\""),
    ("read_only", "read_only"),
    ("deferrable", "deferrable"),
    ("retries", "retries = 3"),
    ("retry_if", "retry_if = is_conflict"),
    ("timeout", "timeout = \"5s\""),
    ("local", "local(\"app.tenant\" = tenant)"),
    ("join", "join = false"),
    ("mandatory", "mandatory"),
    ("durable", "durable"),
    ("crate", "crate = ::poolhouse"),
];

/// Isolation levels: the words of SQL, and the variant.
const LEVELS: &[(&str, &str)] = &[
    ("read uncommitted", "ReadUncommitted"),
    ("read committed", "ReadCommitted"),
    ("repeatable read", "RepeatableRead"),
    ("serializable", "Serializable"),
];

/// Names of arguments in other libraries, in snake case, and what to write here.
#[rustfmt::skip]
const FOREIGN: &[(&[&str], &str)] = &[
    (&["propagation", "tx_type"], "how a transaction stands to the one around it is said by `join` (the default: a savepoint of it), `join = false` (one of its own), `mandatory` (an error outside of one) or `durable` (an error inside of one)"),
    (&["requires_new", "require_new"], "write `join = false`"),
    (&["required", "nested", "savepoint", "supports"], "that is `join`, which is the default"),
    (&["never", "not_supported"], "write `durable`, which is an error inside of a transaction"),
    (&["rollback_for", "rollback_on", "rollback_for_class_name"], "every `Err` rolls back, so leave it out"),
    (&["no_rollback_for", "dont_rollback_on", "no_rollback_for_class_name"], "every `Err` rolls back; return what is to be committed as `Ok`"),
    (&["max_retries", "max_attempts", "attempts", "retry", "retry_count"], "write `retries`, which does not count the first try"),
    (&["retry_for", "retry_on", "retryable"], "write `retry_if`, a function of the error; conflicts that the database reports are always run again"),
    (&["read_write", "writable"], "a transaction writes unless it is `read_only`"),
    (&["isolation_level"], "write `isolation`"),
    (&["timeout_string", "timeout_seconds", "timeout_ms"], "write `timeout`, with its unit: `timeout = \"5s\"`"),
    (&["set_local", "settings", "session"], "write `local(\"app.tenant\" = tenant)`"),
    (&["transaction_manager", "using", "engine", "db"], "leave it out; the caller passes the engine: `transfer(&db, …)`"),
];

/// One argument whose value is of the right kind.
pub(crate) struct Argument {
    pub(crate) key: Ident,
    pub(crate) is: Is,
}

pub(crate) enum Is {
    Isolation(Level),
    ReadOnly(bool),
    Deferrable(bool),
    Retries(Expr),
    RetryIf(Expr),
    Timeout(Limit),
    Local(Vec<(LitStr, Expr)>),
    Join(bool),
    Mandatory(bool),
    Durable(bool),
    Crate(Path),
}

pub(crate) enum Level {
    Variant(&'static str, Span),
    Code(Box<Expr>),
}

pub(crate) enum Limit {
    Known(Duration),
    Code(Box<Expr>),
}

/// The arguments of one attribute, each at most once.
#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) list: Vec<Argument>,
    /// Whether `crate` has a mistake, so that no path into poolhouse is known.
    pub(crate) is_crate_unknown: bool,
}

impl Arguments {
    /// Looks up every name and checks every value; mistakes are reported and left out.
    pub(crate) fn check(args: Vec<Arg>, report: &mut Report) -> Arguments {
        let mut arguments = Arguments::default();
        let mut seen: Vec<&str> = Vec::new();
        for Arg { key, value } in args {
            let written = key.to_string();
            let Some((name, example)) = KNOWN.iter().find(|(name, _)| *name == written) else {
                arguments.is_crate_unknown |=
                    matches!(meant(&written), Some(MeantArgument::Ours("crate")));
                report.mistake(&key, unknown(&written, &value));
                continue;
            };
            if seen.contains(name) {
                report.mistake(&key, format!("`{key}` is set twice; keep one of the two"));
                continue;
            }
            seen.push(name);
            if let Some(is) = report.keep(read(name, example, &key, value)) {
                arguments.list.push(Argument { key, is });
            } else {
                arguments.is_crate_unknown |= *name == "crate";
            }
        }
        arguments.check_together(report);
        arguments
    }

    /// The path that `crate` names.
    pub(crate) fn runtime_crate(&self) -> TokenStream {
        let path = self.list.iter().find_map(|argument| match &argument.is {
            Is::Crate(path) => Some(path),
            _ => None,
        });
        path.map_or_else(|| quote!(::poolhouse), ToTokens::to_token_stream)
    }

    /// Whether the function is known to run at most once.
    pub(crate) fn runs_once(&self) -> bool {
        self.list
            .iter()
            .any(|argument| matches!(&argument.is, Is::Retries(expr) if is_zero(expr)))
    }

    /// Whether a value of `local` uses this parameter.
    pub(crate) fn mentions(&self, parameter: &Ident) -> bool {
        self.list.iter().any(|argument| match &argument.is {
            Is::Local(values) => values
                .iter()
                .any(|(_, value)| uses(parameter, value.to_token_stream())),
            _ => false,
        })
    }

    fn check_together(&self, report: &mut Report) {
        let key = |wanted: fn(&Is) -> bool| {
            let mut found = self.list.iter().filter(|argument| wanted(&argument.is));
            found.next().map(|argument| &argument.key)
        };
        let both = |one: &Ident, other: &Ident| {
            // In the order in which they are written.
            let keys = self.list.iter().map(|argument| &argument.key);
            let keys = keys.filter(|key| *key == one || *key == other);
            keys.map(ToTokens::to_token_stream).collect::<TokenStream>()
        };
        let relations: [(Option<&Ident>, &str); 4] = [
            (
                key(|is| matches!(is, Is::Join(true))),
                "a savepoint of the transaction around it",
            ),
            (
                key(|is| matches!(is, Is::Join(false))),
                "a transaction of its own",
            ),
            (
                key(|is| matches!(is, Is::Mandatory(true))),
                "an error outside of a transaction",
            ),
            (
                key(|is| matches!(is, Is::Durable(true))),
                "an error inside of a transaction",
            ),
        ];
        let mut relations = relations
            .iter()
            .filter_map(|(key, what)| Some(((*key)?, what)));
        if let Some((one, what)) = relations.next() {
            for (other, means) in relations {
                // An outermost transaction is a transaction of its own.
                if one == "join" && *what == "a transaction of its own" && other == "durable" {
                    continue;
                }
                let message = format!(
                    "`{one}` and `{other}` are both set, but one means {what}, and the other {means}; keep one of the two"
                );
                report.mistake(both(one, other), message);
            }
        }
        if self.runs_once()
            && let Some(retry_if) = key(|is| matches!(is, Is::RetryIf(_)))
            && let Some(retries) = key(|is| matches!(is, Is::Retries(_)))
        {
            let message = "`retry_if` says what is run again, but `retries = 0` runs nothing again";
            report.mistake(both(retries, retry_if), message);
        }
    }
}

fn is_zero(expr: &Expr) -> bool {
    match Literal::of(expr) {
        Some(Literal::Number { number, .. }) => matches!(number.base10_parse(), Ok(0_u64)),
        _ => false,
    }
}

fn read(name: &str, example: &str, key: &Ident, value: Value) -> syn::Result<Is> {
    let wrong = |tokens: &dyn ToTokens, what: &str| {
        Err(syn::Error::new_spanned(
            tokens.to_token_stream(),
            format!("`{name}` {what}: `{example}`"),
        ))
    };
    match (name, value) {
        (_, Value::Missing) => wrong(key, "needs a value"),
        ("read_only" | "deferrable" | "join" | "mandatory" | "durable", value) => {
            flag(name, key, value)
        }
        (_, Value::None) => wrong(key, "needs a value"),
        ("local", Value::Many(list)) => local(key, list),
        ("local", Value::One(_)) => wrong(key, "takes names and values in parentheses"),
        (_, Value::Many(_)) => wrong(key, "takes its value with `=`"),
        ("isolation", Value::One(expr)) => level(*expr).map(Is::Isolation),
        ("retries", Value::One(expr)) => retries(*expr).map(Is::Retries),
        ("timeout", Value::One(expr)) => limit(*expr).map(Is::Timeout),
        ("retry_if", Value::One(expr)) => match Literal::of(&expr) {
            None => Ok(Is::RetryIf(*expr)),
            Some(_) => wrong(&expr, "takes a function of the error, without quotes"),
        },
        (_, Value::One(expr)) => match bare(&expr) {
            Expr::Path(ExprPath {
                qself: None, path, ..
            }) => Ok(Is::Crate(path.clone())),
            _ => wrong(&expr, "takes a path"),
        },
    }
}

fn flag(name: &str, key: &Ident, value: Value) -> syn::Result<Is> {
    let is = match value {
        Value::None => true,
        Value::One(expr) => {
            let Some(Literal::Flag(is)) = Literal::of(&expr) else {
                let message =
                    format!("`{name}` takes `true` or `false`, written out: `{name} = true`");
                return Err(syn::Error::new_spanned(expr, message));
            };
            is
        }
        Value::Many(_) | Value::Missing => {
            let message = format!("`{name}` takes its value with `=`: `{name} = true`");
            return Err(syn::Error::new_spanned(key, message));
        }
    };
    Ok(match name {
        "read_only" => Is::ReadOnly(is),
        "deferrable" => Is::Deferrable(is),
        "join" => Is::Join(is),
        "mandatory" => Is::Mandatory(is),
        _ => Is::Durable(is),
    })
}

fn level(expr: Expr) -> syn::Result<Level> {
    let choices: Vec<&str> = LEVELS.iter().map(|(words, _)| *words).collect();
    match Literal::of(&expr) {
        None => Ok(Level::Code(Box::new(expr))),
        Some(Literal::Text(text)) => {
            let words = text.value().to_lowercase().replace(['_', '-'], " ");
            let level = LEVELS.iter().find(|(known, _)| *known == words);
            if let Some((_, variant)) = level {
                return Ok(Level::Variant(variant, text.span()));
            }
            let what = literal::choice(&choices, &words).err().unwrap_or_default();
            Err(syn::Error::new_spanned(text, format!("`isolation` {what}")))
        }
        Some(_) => {
            let message = format!("`isolation` {}", literal::one_of(&choices));
            Err(syn::Error::new_spanned(expr, message))
        }
    }
}

fn retries(expr: Expr) -> syn::Result<Expr> {
    let what = match Literal::of(&expr) {
        None => return Ok(expr),
        Some(Literal::Number { negative, number }) => {
            match literal::count(negative, &number, 0..=u64::MAX, "usize") {
                Ok(_) => return Ok(expr),
                Err(what) => what,
            }
        }
        Some(Literal::Flag(false)) => {
            "takes a whole number; `retries = 0` runs nothing again".to_owned()
        }
        Some(Literal::Text(_)) => "takes a whole number, without quotes: `retries = 3`".to_owned(),
        Some(_) => "takes a whole number: `retries = 3`".to_owned(),
    };
    Err(syn::Error::new_spanned(expr, format!("`retries` {what}")))
}

fn limit(expr: Expr) -> syn::Result<Limit> {
    let what = match Literal::of(&expr) {
        None => return Ok(Limit::Code(Box::new(expr))),
        Some(Literal::Text(text)) => match literal::duration(&text.value()) {
            Ok(limit) if limit.is_zero() => {
                "must be above zero; a transaction without a limit has no `timeout`".to_owned()
            }
            Ok(limit) => return Ok(Limit::Known(limit)),
            Err(what) => what,
        },
        Some(Literal::Number { number, .. }) => format!(
            "takes a duration with its unit: `timeout = \"{}s\"`",
            number.base10_digits()
        ),
        Some(_) => "takes a duration: `timeout = \"5s\"`".to_owned(),
    };
    Err(syn::Error::new_spanned(expr, format!("`timeout` {what}")))
}

fn local(key: &Ident, list: Vec<Expr>) -> syn::Result<Is> {
    const EXAMPLE: &str = "`local(\"app.tenant\" = tenant)`";
    if list.is_empty() {
        let message = format!("`local` needs a value: {EXAMPLE}");
        return Err(syn::Error::new_spanned(key, message));
    }
    let mut values: Vec<(LitStr, Expr)> = Vec::new();
    for expr in list {
        let Expr::Assign(ExprAssign { left, right, .. }) = &expr else {
            let message = format!("`local` takes the name of a setting and its value: {EXAMPLE}");
            return Err(syn::Error::new_spanned(expr, message));
        };
        let Some(Literal::Text(name)) = Literal::of(left) else {
            let message = format!("`local` takes the name of a setting as text: {EXAMPLE}");
            return Err(syn::Error::new_spanned(left, message));
        };
        let what = if name.value().trim().is_empty() {
            Some("a name in `local` must not be empty".to_owned())
        } else if values
            .iter()
            .any(|(known, _)| known.value() == name.value())
        {
            let name = name.value();
            Some(format!(
                "`{name}` is set twice in `local`; keep one of the two"
            ))
        } else {
            None
        };
        if let Some(what) = what {
            return Err(syn::Error::new_spanned(name, what));
        }
        values.push((name, (**right).clone()));
    }
    Ok(Is::Local(values))
}

/// The argument that an unknown name most likely means.
fn meant(key: &str) -> Option<MeantArgument> {
    let ours = KNOWN
        .iter()
        .map(|(name, _)| (*name, MeantArgument::Ours(name)));
    let theirs = FOREIGN.iter().flat_map(|(names, hint)| {
        let names = names.iter();
        names.map(move |name| (*name, MeantArgument::Foreign(hint)))
    });
    closest(key, ours.chain(theirs))
}

/// The message for an unknown name.
fn unknown(key: &str, value: &Value) -> String {
    match meant(key) {
        Some(MeantArgument::Ours(name)) => {
            format!("unknown argument `{key}`: did you mean `{name}`?")
        }
        Some(MeantArgument::Foreign(hint)) => {
            let hint = of_value(value).unwrap_or(hint);
            format!("unknown argument `{key}`: {hint}")
        }
        None => {
            let known: Vec<String> = KNOWN.iter().map(|(name, _)| format!("`{name}`")).collect();
            format!(
                "unknown argument `{key}`; the arguments are {}",
                known.join(", ")
            )
        }
    }
}

enum MeantArgument {
    Ours(&'static str),
    Foreign(&'static str),
}

/// What to write for a value of Spring's `propagation`.
fn of_value(value: &Value) -> Option<&'static str> {
    let Value::One(expr) = value else { return None };
    let word = match (Literal::of(expr), bare(expr)) {
        (Some(Literal::Text(text)), _) => text.value(),
        (None, Expr::Path(path)) => path.path.segments.last()?.ident.to_string(),
        _ => return None,
    };
    let names = FOREIGN[1..4].iter().flat_map(|(names, hint)| {
        let names = names.iter();
        names.map(move |name| (*name, *hint))
    });
    closest(&word, names.chain([("mandatory", "write `mandatory`")]))
}

impl Arguments {
    /// `::poolhouse::TransactionOptions::new().join().retries(3)…`. All but the value has the span of the key. A value that is
    /// one of the `parameters` is cloned, because the body gets the parameter.
    pub(crate) fn options(&self, parameters: &[&Ident]) -> TokenStream {
        let runtime_crate = self.runtime_crate();
        // `join` is the attribute's default. Each of these setters replaces the one before.
        let is_set = |is: &Is| {
            matches!(
                is,
                Is::Join(false) | Is::Mandatory(true) | Is::Durable(true)
            )
        };
        let join =
            (!self.list.iter().any(|argument| is_set(&argument.is))).then(|| quote!(.join()));
        let setters = self
            .list
            .iter()
            .map(|argument| argument.setter(&runtime_crate, parameters));
        quote!(#runtime_crate::TransactionOptions::new() #join #(#setters)*)
    }
}

impl Argument {
    fn setter(&self, runtime_crate: &TokenStream, parameters: &[&Ident]) -> TokenStream {
        let Argument { key, is } = self;
        let arguments = match is {
            Is::Retries(expr) | Is::RetryIf(expr) => kept(expr, parameters),
            Is::Isolation(Level::Code(expr)) | Is::Timeout(Limit::Code(expr)) => {
                kept(expr, parameters)
            }
            Is::Isolation(Level::Variant(variant, span)) => {
                let variant = Ident::new(variant, *span);
                quote_spanned!(*span=> #runtime_crate::IsolationLevel::#variant)
            }
            Is::Timeout(Limit::Known(limit)) => {
                let (seconds, nanos) = (limit.as_secs(), limit.subsec_nanos());
                quote!(::core::time::Duration::new(#seconds, #nanos))
            }
            Is::Local(values) => {
                let setters = values.iter().map(|(name, value)| {
                    let local = Ident::new("local", key.span());
                    let of = kept(value, parameters);
                    quote_spanned!(value.span()=> .#local(#name, #of))
                });
                return setters.collect();
            }
            Is::ReadOnly(true) | Is::Deferrable(true) | Is::Mandatory(true) | Is::Durable(true) => {
                TokenStream::new()
            }
            // `options` sets `join`.
            Is::ReadOnly(false)
            | Is::Deferrable(false)
            | Is::Join(_)
            | Is::Mandatory(false)
            | Is::Durable(false)
            | Is::Crate(_) => return TokenStream::new(),
        };
        quote_spanned!(key.span()=> .#key(#arguments))
    }
}

#[cfg(test)]
mod tests {
    use super::{FOREIGN, KNOWN};

    #[test]
    fn every_name_stands_in_the_tables_once() {
        let ours = KNOWN.iter().map(|(name, _)| *name);
        let theirs = FOREIGN.iter().flat_map(|(names, _)| names.iter().copied());
        let mut names: Vec<_> = ours.chain(theirs).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }
}
