//! What a setting takes, and the check of one value.
//!
//! Only literals are checked: any other expression is passed on, and the type of the runtime's setter says what it
//! must be.

use super::{Directory, Spec};
use crate::args;
use syn::{Error, Expr, ExprLit, ExprUnary, Ident, Lit, LitInt, LitStr, Path, UnOp};

/// What a setting takes.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Text,
    /// Text that is a URL.
    Url,
    /// Text that is the name of an environment variable.
    Variable,
    /// A whole number of the type, at least `least`.
    Count {
        least: u64,
        of: &'static str,
    },
    /// A `Duration`, or text such as `"1m 30s"`.
    Duration,
    /// `true` or `false`.
    Flag,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// The path of a function.
    Function,
    /// A directory: listed and embedded when it is written as text.
    Migrations,
    /// The path of a static.
    Migrator,
    /// The path of the runtime crate, which is used in the expansion and not passed on.
    CratePath,
}

/// A checked value: an expression to pass on, with what it says where that is known now.
pub(crate) enum Value {
    Text(String, Expr),
    Number(u64, Expr),
    Flag(bool, Expr),
    /// Any other expression.
    Code(Expr),
    List(Vec<Expr>),
    /// A static, passed on by reference.
    Static(Expr),
    /// The files to embed.
    Directory(Directory),
    CratePath(Path),
}

impl Kind {
    /// The value, when it is one for this kind.
    pub(super) fn check(self, spec: &Spec, key: &Ident, value: args::Value) -> syn::Result<Value> {
        let wrong = |what: String| {
            Err(Error::new_spanned(
                key,
                format!("`{key}` {what}: `{key} = {}`", spec.example),
            ))
        };
        match (self, value) {
            (_, args::Value::Missing) => wrong("needs a value".to_owned()),
            (Kind::Texts, args::Value::Many(list)) if list.is_empty() => {
                wrong("needs a value".to_owned())
            }
            (Kind::Texts, args::Value::Many(list)) => texts(spec, key, list),
            (_, args::Value::Many(_)) => wrong("takes its value with `=`".to_owned()),
            (_, args::Value::One(expr)) => self.check_expr(spec, key, expr),
        }
    }

    fn check_expr(self, spec: &Spec, key: &Ident, expr: Expr) -> syn::Result<Value> {
        let literal = Literal::of(&expr);
        let checked = match (self, &literal) {
            (Kind::CratePath, _) => return crate_path(spec, key, &expr),
            (Kind::Texts, None) => match expr {
                Expr::Array(array) => return texts(spec, key, array.elems.into_iter().collect()),
                expr => return Ok(Value::Code(expr)),
            },
            (Kind::Migrator, None) if matches!(bare(&expr), Expr::Path(_)) => {
                return Ok(Value::Static(expr));
            }
            (_, None) => return Ok(Value::Code(expr)),
            (Kind::Migrations, Some(Literal::Text(text))) => {
                return Directory::list(text.clone()).map(Value::Directory);
            }
            (Kind::Text, Some(Literal::Text(text))) => not_empty(&text.value()),
            (Kind::Url, Some(Literal::Text(text))) => url(&text.value()),
            (Kind::Variable, Some(Literal::Text(text))) => variable(&text.value()),
            (Kind::Duration, Some(Literal::Text(text))) => duration(&text.value()),
            (Kind::Choice(choices), Some(Literal::Text(text))) => choice(choices, &text.value()),
            (Kind::Count { least, of }, Some(Literal::Number { negative, number })) => {
                count(*negative, number, least, of)
            }
            (Kind::Flag, Some(Literal::Flag(_))) => Ok(()),
            (kind, Some(literal)) => Err(kind.takes(literal, spec)),
        };
        match (checked, literal) {
            (Err(what), _) => Err(Error::new_spanned(&expr, format!("`{key}` {what}"))),
            (Ok(()), Some(Literal::Text(text))) => Ok(Value::Text(text.value(), expr)),
            // A number that `count` accepted is in the range of u64.
            (Ok(()), Some(Literal::Number { number, .. })) => {
                Ok(Value::Number(number.base10_parse()?, expr))
            }
            (Ok(()), Some(Literal::Flag(flag))) => Ok(Value::Flag(flag, expr)),
            (Ok(()), _) => Ok(Value::Code(expr)),
        }
    }

    /// The message for a literal of another type.
    fn takes(self, literal: &Literal, Spec { name, example, .. }: &Spec) -> String {
        let unquoted = matches!(literal, Literal::Text(_));
        let without_quotes = if unquoted { ", without quotes" } else { "" };
        match (self, literal) {
            (Kind::Duration, Literal::Number { number, .. }) => {
                format!(
                    "takes a duration with its unit: `{name} = \"{}s\"`",
                    number.base10_digits()
                )
            }
            (Kind::Duration, _) => format!("takes a duration: `{name} = {example}`"),
            (Kind::Count { .. }, _) => {
                format!("takes a whole number{without_quotes}: `{name} = {example}`")
            }
            (Kind::Flag, _) => {
                format!("takes `true` or `false`{without_quotes}: `{name} = {example}`")
            }
            (Kind::Choice(choices), _) => format!("takes one of {}", quoted(choices)),
            (Kind::Texts, _) => format!("takes a list: `{name} = {example}`"),
            (Kind::Function, _) => {
                format!("takes the path of a function{without_quotes}: `{name} = {example}`")
            }
            (Kind::Migrations, _) => format!("takes a directory: `{name} = {example}`"),
            (Kind::Migrator, _) => format!(
                "takes the path of a static `Migrator`: `{name} = {example}`; a directory is set with `migrations`"
            ),
            (Kind::CratePath, _) => format!("takes a path{without_quotes}: `{name} = {example}`"),
            (Kind::Text | Kind::Url | Kind::Variable, _) => {
                format!("takes text: `{name} = {example}`")
            }
        }
    }
}

/// The literals that some setting takes.
enum Literal {
    Text(LitStr),
    Number { negative: bool, number: LitInt },
    Flag(bool),
    Other,
}

impl Literal {
    /// The literal that an expression is; nothing for an expression that must be evaluated.
    fn of(expr: &Expr) -> Option<Literal> {
        match bare(expr) {
            Expr::Lit(ExprLit { lit, .. }) => Some(match lit {
                Lit::Str(text) => Literal::Text(text.clone()),
                Lit::Int(number) => Literal::Number {
                    negative: false,
                    number: number.clone(),
                },
                Lit::Bool(flag) => Literal::Flag(flag.value),
                _ => Literal::Other,
            }),
            Expr::Unary(ExprUnary {
                op: UnOp::Neg(_),
                expr,
                ..
            }) => Some(match Literal::of(expr)? {
                Literal::Number {
                    negative: false,
                    number,
                } => Literal::Number {
                    negative: true,
                    number,
                },
                _ => Literal::Other,
            }),
            _ => None,
        }
    }
}

/// The expression inside parentheses, seen or unseen; a macro's `$value` comes in unseen ones.
fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Group(group) => bare(&group.expr),
        Expr::Paren(paren) => bare(&paren.expr),
        expr => expr,
    }
}

fn crate_path(spec: &Spec, key: &Ident, expr: &Expr) -> syn::Result<Value> {
    match bare(expr) {
        Expr::Path(path) if path.qself.is_none() && path.attrs.is_empty() => {
            Ok(Value::CratePath(path.path.clone()))
        }
        other => {
            let literal = Literal::of(other).unwrap_or(Literal::Other);
            Err(Error::new_spanned(
                other,
                format!("`{key}` {}", Kind::CratePath.takes(&literal, spec)),
            ))
        }
    }
}

fn texts(spec: &Spec, key: &Ident, list: Vec<Expr>) -> syn::Result<Value> {
    match list
        .iter()
        .find(|expr| !matches!(Literal::of(expr), None | Some(Literal::Text(_))))
    {
        Some(expr) => Err(Error::new_spanned(
            expr,
            format!("`{key}` takes a list of texts: `{key} = {}`", spec.example),
        )),
        None => Ok(Value::List(list)),
    }
}

fn not_empty(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        Err("must not be empty".to_owned())
    } else {
        Ok(())
    }
}

fn url(text: &str) -> Result<(), String> {
    if text.contains(':') {
        return Ok(());
    }
    Err("takes a URL, which begins with the kind of database: `sqlite:`, `postgres:`, `mysql:`; the name of a variable is set with `env`".to_owned())
}

fn variable(text: &str) -> Result<(), String> {
    if text.contains("://") {
        return Err("takes the name of a variable; the URL itself is set with `url`".to_owned());
    }
    // What no operating system accepts in a name, and the shell's `$NAME`.
    if text.is_empty() || text.contains(['=', '\0', '$']) {
        return Err(format!(
            "takes the name of a variable, such as `\"DATABASE_URL\"`; `{text}` is not one"
        ));
    }
    Ok(())
}

fn duration(text: &str) -> Result<(), String> {
    let what = match humantime::parse_duration(text) {
        Ok(_) => return Ok(()),
        Err(humantime::DurationError::UnknownUnit { unit, .. }) if unit.is_empty() => {
            "has no unit".to_owned()
        }
        Err(humantime::DurationError::UnknownUnit { unit, .. }) => {
            format!("has the unknown unit `{unit}`")
        }
        Err(humantime::DurationError::NumberOverflow) => "is out of range".to_owned(),
        Err(_) => "is not a duration".to_owned(),
    };
    Err(format!(
        "= \"{text}\" {what}; write `\"30s\"`, `\"1m 30s\"` or `\"500ms\"`"
    ))
}

fn choice(choices: &[&str], text: &str) -> Result<(), String> {
    if choices.contains(&text) {
        Ok(())
    } else {
        Err(format!("takes one of {}", quoted(choices)))
    }
}

fn quoted(choices: &[&str]) -> String {
    choices
        .iter()
        .map(|choice| format!("`\"{choice}\"`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn count(negative: bool, number: &LitInt, least: u64, of: &str) -> Result<(), String> {
    if !["", of].contains(&number.suffix()) {
        return Err(format!("takes a `{of}`, not a `{}`", number.suffix()));
    }
    // Checked as u32 where poolhouse keeps a u32; `usize` is as wide as the machine that will run the program.
    let most = if of == "u32" {
        u64::from(u32::MAX)
    } else {
        u64::MAX
    };
    match number.base10_parse::<u64>() {
        Ok(0) if least == 0 => Ok(()),
        Ok(value) if negative || value < least => Err(format!("must be at least {least}")),
        Ok(value) if value <= most => Ok(()),
        _ if negative => Err(format!("must be at least {least}")),
        _ => Err(format!("must be at most {most}")),
    }
}
