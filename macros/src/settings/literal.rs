//! Literals and their mistakes. Each message completes the sentence "`max_size` …".

use std::ops::RangeInclusive;
use std::time::Duration;

use syn::{Expr, ExprLit, ExprUnary, Lit, LitInt, LitStr, UnOp};

/// The literals that some setting takes.
pub(crate) enum Literal {
    Text(LitStr),
    Number { negative: bool, number: LitInt },
    Flag(bool),
    Other,
}

impl Literal {
    /// The literal of an expression; `None` for an expression that must be evaluated.
    pub(crate) fn of(expr: &Expr) -> Option<Literal> {
        let literal = match bare(expr) {
            Expr::Lit(ExprLit { lit, .. }) => match lit {
                Lit::Str(text) => Literal::Text(text.clone()),
                Lit::Int(number) => Literal::number(number.clone()),
                Lit::Bool(flag) => Literal::Flag(flag.value),
                _ => Literal::Other,
            },
            Expr::Unary(ExprUnary {
                op: UnOp::Neg(_),
                expr,
                ..
            }) => Literal::of(expr)?.negated(),
            _ => return None,
        };
        Some(literal)
    }

    fn number(number: LitInt) -> Literal {
        Literal::Number {
            negative: false,
            number,
        }
    }

    fn negated(self) -> Literal {
        match self {
            Literal::Number {
                negative: false,
                number,
            } => Literal::Number {
                negative: true,
                number,
            },
            _ => Literal::Other,
        }
    }
}

/// The expression inside parentheses and invisible groups; a macro's `$value` is in an invisible group.
pub(crate) fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Group(group) => bare(&group.expr),
        Expr::Paren(paren) => bare(&paren.expr),
        expr => expr,
    }
}

pub(crate) fn not_empty(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        Err("must not be empty".to_owned())
    } else {
        Ok(())
    }
}

pub(crate) fn url(text: &str) -> Result<(), String> {
    if text.contains(':') {
        return Ok(());
    }
    let kinds = "`sqlite:`, `postgres:`, `mysql:`";
    Err(format!(
        "takes a URL, which begins with the kind of database: {kinds}; the name of a variable is set with `env`"
    ))
}

pub(crate) fn variable(text: &str) -> Result<(), String> {
    if text.contains("://") {
        return Err("takes the name of a variable; the URL itself is set with `url`".to_owned());
    }
    // Characters that no operating system accepts in a name, and the `$` of the shell's `$NAME`.
    if text.is_empty() || text.contains(['=', '\0', '$']) {
        return Err(format!(
            "takes the name of a variable, such as `\"DATABASE_URL\"`; `{text}` is not one"
        ));
    }
    Ok(())
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    use humantime::DurationError::{NumberOverflow, UnknownUnit};
    let what = match humantime::parse_duration(text.trim()) {
        Ok(duration) => return Ok(duration),
        Err(UnknownUnit { unit, .. }) if unit.is_empty() => "has no unit".to_owned(),
        Err(UnknownUnit { unit, .. }) => format!("has the unknown unit `{unit}`"),
        Err(NumberOverflow) => "is out of range".to_owned(),
        Err(_) => "is not a duration".to_owned(),
    };
    Err(format!(
        "= \"{text}\" {what}; write `\"30s\"`, `\"1m 30s\"` or `\"500ms\"`"
    ))
}

pub(crate) fn timeout(text: &str) -> Result<(), String> {
    if duration(text)?.is_zero() {
        return Err("must be above zero".to_owned());
    }
    Ok(())
}

pub(crate) fn limit(text: &str) -> Result<(), String> {
    if text.trim().eq_ignore_ascii_case("off") {
        return Ok(());
    }
    if duration(text)?.is_zero() {
        // In some pools zero means "never", in others "at once".
        return Err("must be above zero; `\"off\"` switches it off".to_owned());
    }
    Ok(())
}

pub(crate) fn choice(choices: &[&str], text: &str) -> Result<(), String> {
    if choices.contains(&text) {
        return Ok(());
    }
    let meant = choices
        .iter()
        .map(|choice| (strsim::damerau_levenshtein(text, choice), choice))
        // One typing error for every four letters, as for the names of settings.
        .filter(|(slips, choice)| *slips <= choice.len() / 4)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, choice)| format!("; did you mean `\"{choice}\"`?"));
    Err(format!("{}{}", one_of(choices), meant.unwrap_or_default()))
}

pub(crate) fn one_of(choices: &[&str]) -> String {
    let quoted: Vec<String> = choices
        .iter()
        .map(|choice| format!("`\"{choice}\"`"))
        .collect();
    format!("takes one of {}", quoted.join(", "))
}

/// The number, when it is a whole number of the type `of`, and accepted.
pub(crate) fn count(
    negative: bool,
    number: &LitInt,
    accepted: RangeInclusive<u64>,
    of: &str,
) -> Result<u64, String> {
    if !["", of].contains(&number.suffix()) {
        return Err(format!("takes a `{of}`, not a `{}`", number.suffix()));
    }
    let (least, most) = (accepted.start(), accepted.end());
    match number.base10_parse() {
        Ok(0) if *least == 0 => Ok(0),
        Ok(value) if !negative && accepted.contains(&value) => Ok(value),
        Ok(value) if negative || value < *least => Err(format!("must be at least {least}")),
        Err(_) if negative => Err(format!("must be at least {least}")),
        _ => Err(format!("must be at most {most}")),
    }
}
