//! The values that settings take, and the check of one value.
//!
//! Only literals are checked: any other expression is passed on, and the type of the runtime's setter says what it
//! must be.

use super::literal::{self, Literal};
use super::{Directory, Fixture};
use crate::args;
use crate::table::{Spec, Takes};
use std::{path, slice};
use syn::{Error, Expr, Ident, Path, Result};

/// A checked value: an expression to pass on, with its content where that is known at expansion.
pub(crate) enum SettingValue {
    Text(String, Expr),
    Number(u64, Expr),
    /// An expression whose content is not known.
    Code(Expr),
    List(Vec<Expr>),
    /// A static, passed on by reference.
    Static(Expr),
    /// The files to embed.
    Directory(Directory),
    /// No migrations, not even those of the crate.
    NoMigrations,
    Fixtures(Vec<Fixture>),
    /// The path of the runtime crate: used by the expansion, not passed on.
    CratePath(Path),
}

impl SettingValue {
    /// The expressions that are passed on.
    pub(super) fn expressions(&self) -> &[Expr] {
        match self {
            SettingValue::Text(_, expr)
            | SettingValue::Number(_, expr)
            | SettingValue::Code(expr)
            | SettingValue::Static(expr) => slice::from_ref(expr),
            SettingValue::List(list) => list,
            SettingValue::Directory(_)
            | SettingValue::NoMigrations
            | SettingValue::Fixtures(_)
            | SettingValue::CratePath(_) => &[],
        }
    }
}

impl Takes {
    /// Checks that a value is of this kind. `function` is the source file of the function.
    pub(super) fn check(
        self,
        spec: &Spec,
        key: &Ident,
        value: args::Value,
        function: Option<&path::Path>,
    ) -> Result<SettingValue> {
        let wrong = |what| {
            let Spec { name, example, .. } = spec;
            let equals = if example.starts_with('(') { "" } else { " = " };
            Err(Error::new_spanned(
                key,
                format!("`{name}` {what}: `{name}{equals}{example}`"),
            ))
        };
        match (self, value) {
            (_, args::Value::None | args::Value::Missing) => wrong("needs a value"),
            (Takes::Texts | Takes::Fixtures, args::Value::Many(list)) if list.is_empty() => {
                wrong("needs a value")
            }
            (Takes::Fixtures, args::Value::Many(list)) => {
                Fixture::list(&list, function).map(SettingValue::Fixtures)
            }
            (Takes::Fixtures, _) => wrong("takes a list in parentheses"),
            (Takes::Texts, args::Value::Many(list)) => texts(spec, list),
            (_, args::Value::Many(_)) => wrong("takes its value with `=`"),
            (_, args::Value::One(expr)) => match Literal::of(&expr) {
                Some(literal) => self.check_literal(spec, &literal, *expr),
                None => self.check_code(spec, *expr),
            },
        }
    }

    fn check_code(self, spec: &Spec, expr: Expr) -> Result<SettingValue> {
        match (self, literal::bare(&expr)) {
            (Takes::Texts, Expr::Array(array)) => {
                texts(spec, array.elems.iter().cloned().collect())
            }
            (Takes::Migrator, Expr::Path(_)) => Ok(SettingValue::Static(expr)),
            (Takes::CratePath, Expr::Path(path)) if path.qself.is_none() => {
                Ok(SettingValue::CratePath(path.path.clone()))
            }
            (Takes::CratePath, _) => {
                Err(mistake(spec, &expr, &self.expects(spec, &Literal::Other)))
            }
            _ => Ok(SettingValue::Code(expr)),
        }
    }

    fn check_literal(self, spec: &Spec, literal: &Literal, expr: Expr) -> Result<SettingValue> {
        let written = expr.clone();
        let value = match (self, literal) {
            (Takes::Migrations, Literal::Text(text)) => {
                return Directory::list(text.clone()).map(SettingValue::Directory);
            }
            (Takes::Migrations, Literal::Flag(false)) => return Ok(SettingValue::NoMigrations),
            (Takes::Count { least, most, of }, Literal::Number { negative, number }) => {
                literal::count(*negative, number, least..=most, of)
                    .map(|number| SettingValue::Number(number, expr))
            }
            (Takes::Flag, Literal::Flag(_)) => Ok(SettingValue::Code(expr)),
            (_, Literal::Text(text)) => {
                let text = text.value();
                self.check_text(&text)
                    .unwrap_or_else(|| Err(self.expects(spec, literal)))
                    .map(|()| SettingValue::Text(text, expr))
            }
            _ => Err(self.expects(spec, literal)),
        };
        value.map_err(|what| mistake(spec, &written, &what))
    }

    /// Checks a text; `None` when the kind takes no text.
    fn check_text(self, text: &str) -> Option<std::result::Result<(), String>> {
        match self {
            Takes::Text => Some(literal::not_empty(text)),
            Takes::Url => Some(literal::url(text)),
            Takes::Variable => Some(literal::variable(text)),
            Takes::Duration => Some(literal::duration(text).map(drop)),
            Takes::Timeout => Some(literal::timeout(text)),
            Takes::Limit => Some(literal::limit(text)),
            Takes::Choice(choices) => Some(literal::choice(choices, text)),
            _ => None,
        }
    }

    /// The message for a literal of another type.
    fn expects(self, Spec { name, example, .. }: &Spec, literal: &Literal) -> String {
        let bare = if matches!(literal, Literal::Text(_)) {
            ", without quotes"
        } else {
            ""
        };
        match (self, literal) {
            (Takes::Duration | Takes::Timeout | Takes::Limit, Literal::Number { number, .. }) => {
                format!(
                    "takes a duration with its unit: `{name} = \"{}s\"`",
                    number.base10_digits()
                )
            }
            (Takes::Duration | Takes::Timeout, _) => {
                format!("takes a duration: `{name} = {example}`")
            }
            (Takes::Limit, _) => format!("takes a duration or `\"off\"`: `{name} = {example}`"),
            (Takes::Count { .. }, _) => format!("takes a whole number{bare}: `{name} = {example}`"),
            (Takes::Flag, _) => format!("takes `true` or `false`{bare}: `{name} = {example}`"),
            (Takes::Choice(choices), _) => literal::one_of(choices),
            (Takes::Texts, _) => format!("takes a list of texts: `{name} = {example}`"),
            (Takes::Function, _) => {
                format!("takes the path of a function{bare}: `{name} = {example}`")
            }
            (Takes::Fixtures, _) => format!("takes a list in parentheses: `{name}{example}`"),
            (Takes::Migrations, _) => format!("takes a directory: `{name} = {example}`"),
            (Takes::Migrator, _) => format!(
                "takes the path of a static `Migrator`: `{name} = {example}`; a directory is set with `migrations`"
            ),
            (Takes::CratePath, _) => format!("takes a path{bare}: `{name} = {example}`"),
            (Takes::Text | Takes::Url | Takes::Variable, _) => {
                format!("takes text: `{name} = {example}`")
            }
        }
    }
}

fn texts(spec: &Spec, list: Vec<Expr>) -> Result<SettingValue> {
    let other = list.iter().find_map(|expr| match Literal::of(expr) {
        None | Some(Literal::Text(_)) => None,
        Some(literal) => Some((expr, literal)),
    });
    match other {
        Some((expr, literal)) => Err(mistake(spec, expr, &spec.takes.expects(spec, &literal))),
        None => Ok(SettingValue::List(list)),
    }
}

fn mistake(spec: &Spec, expr: &Expr, what: &str) -> Error {
    Error::new_spanned(expr, format!("`{}` {what}", spec.name))
}
