//! What a setting takes, and the check of one value.
//!
//! Only literals are checked: any other expression is passed on, and the type of the runtime's setter says what it
//! must be.

use super::literal::{self, Literal};
use super::{Directory, Fixture, Spec};
use crate::args;
use syn::{Error, Expr, Ident, Path, Result};

/// What a setting takes.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Any text but none.
    Text,
    /// Text that is a URL.
    Url,
    /// Text that is the name of an environment variable.
    Variable,
    /// A whole number of the type `of`, at least `least`.
    Count { least: u64, of: &'static str },
    /// A `Duration`, or text such as `"1m 30s"`.
    Duration,
    /// A duration above zero, or `"off"`.
    Limit,
    /// `true` or `false`.
    Flag,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// A function.
    Function,
    /// A directory: listed and embedded when it is written as text.
    Migrations,
    /// SQL files, as text, and paths of async functions.
    Fixtures,
    /// The path of a static.
    Migrator,
    /// The path of the runtime crate.
    CratePath,
}

/// A checked value: an expression to pass on, with what it says where that is known now.
pub(crate) enum Value {
    Text(String, Expr),
    Number(u64, Expr),
    /// An expression that says nothing yet.
    Code(Expr),
    List(Vec<Expr>),
    /// A static, passed on by reference.
    Static(Expr),
    /// The files to embed.
    Directory(Directory),
    /// None, not even those of the crate.
    NoMigrations,
    Fixtures(Vec<Fixture>),
    /// Where the runtime is: used by the expansion, not passed on.
    CratePath(Path),
}

impl Kind {
    /// The value, when it is one for this kind.
    pub(super) fn check(self, spec: &Spec, key: &Ident, value: args::Value) -> Result<Value> {
        let wrong = |what| {
            let Spec { name, example, .. } = spec;
            let equals = if example.starts_with('(') { "" } else { " = " };
            Err(Error::new_spanned(
                key,
                format!("`{name}` {what}: `{name}{equals}{example}`"),
            ))
        };
        match (self, value) {
            (_, args::Value::Missing) => wrong("needs a value"),
            (Kind::Texts | Kind::Fixtures, args::Value::Many(list)) if list.is_empty() => {
                wrong("needs a value")
            }
            (Kind::Fixtures, args::Value::Many(list)) => Fixture::list(&list).map(Value::Fixtures),
            (Kind::Fixtures, _) => wrong("takes a list in parentheses"),
            (Kind::Texts, args::Value::Many(list)) => texts(spec, list),
            (_, args::Value::Many(_)) => wrong("takes its value with `=`"),
            (_, args::Value::One(expr)) => match Literal::of(&expr) {
                Some(literal) => self.check_literal(spec, &literal, *expr),
                None => self.check_code(spec, *expr),
            },
        }
    }

    fn check_code(self, spec: &Spec, expr: Expr) -> Result<Value> {
        match (self, literal::bare(&expr)) {
            (Kind::Texts, Expr::Array(array)) => texts(spec, array.elems.iter().cloned().collect()),
            (Kind::Migrator, Expr::Path(_)) => Ok(Value::Static(expr)),
            (Kind::CratePath, Expr::Path(path)) if path.qself.is_none() => {
                Ok(Value::CratePath(path.path.clone()))
            }
            (Kind::CratePath, _) => Err(mistake(spec, &expr, &self.takes(spec, &Literal::Other))),
            _ => Ok(Value::Code(expr)),
        }
    }

    fn check_literal(self, spec: &Spec, literal: &Literal, expr: Expr) -> Result<Value> {
        let place = expr.clone();
        let value = match (self, literal) {
            (Kind::Migrations, Literal::Text(text)) => {
                return Directory::list(text.clone()).map(Value::Directory);
            }
            (Kind::Migrations, Literal::Flag(false)) => return Ok(Value::NoMigrations),
            (Kind::Count { least, of }, Literal::Number { negative, number }) => {
                literal::count(*negative, number, least, of)
                    .map(|number| Value::Number(number, expr))
            }
            (Kind::Flag, Literal::Flag(_)) => Ok(Value::Code(expr)),
            (_, Literal::Text(text)) => {
                let text = text.value();
                self.check_text(&text)
                    .unwrap_or_else(|| Err(self.takes(spec, literal)))
                    .map(|()| Value::Text(text, expr))
            }
            _ => Err(self.takes(spec, literal)),
        };
        value.map_err(|what| mistake(spec, &place, &what))
    }

    /// Nothing when the kind does not take text.
    fn check_text(self, text: &str) -> Option<std::result::Result<(), String>> {
        match self {
            Kind::Text => Some(literal::not_empty(text)),
            Kind::Url => Some(literal::url(text)),
            Kind::Variable => Some(literal::variable(text)),
            Kind::Duration => Some(literal::duration(text).map(drop)),
            Kind::Limit => Some(literal::limit(text)),
            Kind::Choice(choices) => Some(literal::choice(choices, text)),
            _ => None,
        }
    }

    /// The message for a literal of another type.
    fn takes(self, Spec { name, example, .. }: &Spec, literal: &Literal) -> String {
        let bare = if matches!(literal, Literal::Text(_)) {
            ", without quotes"
        } else {
            ""
        };
        match (self, literal) {
            (Kind::Duration | Kind::Limit, Literal::Number { number, .. }) => {
                format!(
                    "takes a duration with its unit: `{name} = \"{}s\"`",
                    number.base10_digits()
                )
            }
            (Kind::Duration, _) => format!("takes a duration: `{name} = {example}`"),
            (Kind::Limit, _) => format!("takes a duration or `\"off\"`: `{name} = {example}`"),
            (Kind::Count { .. }, _) => format!("takes a whole number{bare}: `{name} = {example}`"),
            (Kind::Flag, _) => format!("takes `true` or `false`{bare}: `{name} = {example}`"),
            (Kind::Choice(choices), _) => literal::one_of(choices),
            (Kind::Texts, _) => format!("takes a list of texts: `{name} = {example}`"),
            (Kind::Function, _) => {
                format!("takes the path of a function{bare}: `{name} = {example}`")
            }
            (Kind::Fixtures, _) => format!("takes a list in parentheses: `{name}{example}`"),
            (Kind::Migrations, _) => format!("takes a directory: `{name} = {example}`"),
            (Kind::Migrator, _) => format!(
                "takes the path of a static `Migrator`: `{name} = {example}`; a directory is set with `migrations`"
            ),
            (Kind::CratePath, _) => format!("takes a path{bare}: `{name} = {example}`"),
            (Kind::Text | Kind::Url | Kind::Variable, _) => {
                format!("takes text: `{name} = {example}`")
            }
        }
    }
}

fn texts(spec: &Spec, list: Vec<Expr>) -> Result<Value> {
    let other = list.iter().find_map(|expr| match Literal::of(expr) {
        None | Some(Literal::Text(_)) => None,
        Some(literal) => Some((expr, literal)),
    });
    match other {
        Some((expr, literal)) => Err(mistake(spec, expr, &spec.kind.takes(spec, &literal))),
        None => Ok(Value::List(list)),
    }
}

fn mistake(spec: &Spec, expr: &Expr, what: &str) -> Error {
    Error::new_spanned(expr, format!("`{}` {what}", spec.name))
}
