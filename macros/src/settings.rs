//! The second stage: keys become settings of the table, values become values of the right kind.

mod fixtures;
pub(crate) mod literal;
mod migrations;
mod value;

pub(crate) use fixtures::{Fixture, local_file};
pub(crate) use migrations::Directory;
pub(crate) use value::SettingValue;

use crate::args::Arg;
use crate::report::Report;
use crate::table::{self, Reach, Spec, Takes};
use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use std::path::Path;
use syn::Ident;
use syn::ext::IdentExt;

/// Pairs of settings that exclude each other, and the reason.
const EXCLUSIVE: &[(&str, &str, &str)] = &[
    (
        "url",
        "env",
        "the URL is either written here or read from a variable",
    ),
    (
        "migrations",
        "migrator",
        "the migrations come either from a directory or from a `Migrator`",
    ),
    (
        "session",
        "pooler",
        "behind a pooler the next statement may be in another session of the server",
    ),
];

/// A setting whose name is known and whose value is of the right kind.
pub(crate) struct Setting {
    /// The user's own token: the generated call has its span.
    pub(crate) key: Ident,
    pub(crate) spec: &'static Spec,
    pub(crate) value: SettingValue,
}

/// The settings of one attribute, each at most once, as written.
#[derive(Default)]
pub(crate) struct Settings {
    pub(crate) list: Vec<Setting>,
    /// Whether `crate` has a mistake, so that no path into poolhouse is known.
    pub(crate) is_crate_unknown: bool,
}

/// Which attribute the settings stand on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    /// `#[with_pool(…)]`
    Function,
    /// `#[pool(…)]`
    Parameter,
}

impl On {
    fn admits(self, spec: &Spec) -> bool {
        self == On::Function || matches!(spec.reach, Reach::Engine | Reach::Test)
    }
}

impl Settings {
    /// Looks up every key and checks every value; mistakes are reported and left out. `function` is the source file of the
    /// function.
    pub(crate) fn check(
        args: Vec<Arg>,
        on: On,
        function: Option<&Path>,
        report: &mut Report,
    ) -> Settings {
        let mut settings = Settings::default();
        let mut seen: Vec<&str> = Vec::new();
        for Arg { key, value } in args {
            let written = key.to_string();
            let Some(spec) = table::find(&written) else {
                let meant = table::meant(&written, |spec| on.admits(spec));
                settings.is_crate_unknown |= meant.is_some_and(|meant| meant.name() == "crate");
                report.mistake(&key, unknown(&written, on));
                continue;
            };
            if seen.contains(&spec.name) {
                report.mistake(&key, format!("`{key}` is set twice; keep one of the two"));
                continue;
            }
            seen.push(spec.name);
            if !on.admits(spec) {
                let message = format!(
                    "`{key}` is not a setting of one engine; write it in `#[with_pool({key} = …)]`"
                );
                report.mistake(&key, message);
                continue;
            }
            if let Some(value) = report.keep(spec.takes.check(spec, &key, value, function)) {
                settings.list.push(Setting { key, spec, value });
            } else {
                settings.is_crate_unknown |= spec.name == "crate";
            }
        }
        settings.check_together(report);
        settings
    }

    /// The path that `crate` names.
    pub(crate) fn runtime_crate(&self) -> Option<&syn::Path> {
        self.list.iter().find_map(|setting| match &setting.value {
            SettingValue::CratePath(path) => Some(path),
            _ => None,
        })
    }

    /// Whether a value uses a parameter.
    pub(crate) fn mentions(&self, parameter: &Ident) -> bool {
        let values = self.list.iter();
        let mut values = values.flat_map(|setting| setting.value.expressions());
        values.any(|value| uses(parameter, value.to_token_stream()))
    }

    /// The first use of a variable that certainly means this one. A value that has variables of its own is left to the compiler, and
    /// so is a function, which may have the name of a variable.
    pub(crate) fn variable(&self, name: &Ident) -> Option<Ident> {
        let is_value = |setting: &&Setting| !matches!(setting.spec.takes, Takes::Function);
        let values = self.list.iter().filter(is_value);
        let values = values.flat_map(|setting| setting.value.expressions());
        let mut values = values.map(ToTokens::to_token_stream);
        values.find_map(|value| (!binds(value.clone())).then(|| variable(name, value))?)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Setting> {
        self.list.iter().find(|setting| setting.spec.name == name)
    }

    /// The tokens of a mistake that two settings make together: both keys, in the order written.
    fn both(&self, names: [&str; 2]) -> TokenStream {
        let keys = self
            .list
            .iter()
            .filter(|setting| names.contains(&setting.spec.name));
        keys.map(|setting| setting.key.to_token_stream()).collect()
    }

    fn check_together(&self, report: &mut Report) {
        for &(one, other, why) in EXCLUSIVE {
            if self.get(one).is_some() && self.get(other).is_some() {
                report.mistake(
                    self.both([one, other]),
                    format!("`{one}` and `{other}` are both set, but {why}"),
                );
            }
        }
        self.check_sizes(report);
        self.check_runtime(report);
    }

    fn check_sizes(&self, report: &mut Report) {
        let number = |name| match self.get(name)?.value {
            SettingValue::Number(number, _) => Some(number),
            _ => None,
        };
        if let (Some(min), Some(max)) = (number("min_size"), number("max_size"))
            && min > max
        {
            let message = format!("`min_size = {min}` is more than `max_size = {max}`");
            report.mistake(self.both(["min_size", "max_size"]), message);
        }
    }

    /// Reports `worker_threads` on a runtime that has no worker threads.
    fn check_runtime(&self, report: &mut Report) {
        if let (Some(threads), Some(flavor)) = (self.get("worker_threads"), self.get("flavor"))
            && matches!(&flavor.value, SettingValue::Text(flavor, _) if flavor == "current_thread")
        {
            let message = "`worker_threads` needs `flavor = \"multi_thread\"`: a current-thread runtime has no workers";
            report.mistake(&threads.key, message);
        }
    }
}

/// Whether tokens use a variable, also inside the text of a format macro: `format!("sqlite:{name}.db")`.
pub(crate) fn uses(variable: &Ident, tokens: TokenStream) -> bool {
    let in_text = format!("{{{}", variable.unraw());
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == *variable,
        TokenTree::Group(group) => uses(variable, group.stream()),
        TokenTree::Literal(literal) => literal.to_string().contains(&in_text),
        TokenTree::Punct(_) => false,
    })
}

/// Whether an expression may have variables of its own: those of closures, patterns and items.
fn binds(value: TokenStream) -> bool {
    value.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ["let", "match", "for", "fn"]
            .iter()
            .any(|word| ident == word),
        TokenTree::Punct(punct) => punct.as_char() == '|',
        TokenTree::Group(group) => binds(group.stream()),
        TokenTree::Literal(_) => false,
    })
}

/// The first use of a variable that is not a field, a segment of a longer path, a name of an argument, a call or a macro.
fn variable(name: &Ident, value: TokenStream) -> Option<Ident> {
    let mut before = None;
    let mut tokens = value.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let follows = before.replace(match &token {
            TokenTree::Punct(punct) => punct.as_char(),
            _ => ' ',
        });
        match token {
            TokenTree::Ident(ident) if ident == *name => {
                let is_last = match tokens.peek() {
                    Some(TokenTree::Punct(punct)) => !matches!(punct.as_char(), ':' | '=' | '!'),
                    Some(TokenTree::Group(_)) => false,
                    _ => true,
                };
                if is_last && !matches!(follows, Some('.' | ':')) {
                    return Some(ident);
                }
            }
            TokenTree::Group(group) => {
                if let Some(found) = variable(name, group.stream()) {
                    return Some(found);
                }
            }
            _ => {}
        }
    }
    None
}

/// The message for a key that is not in the table.
fn unknown(key: &str, on: On) -> String {
    let admits = |spec: &Spec| on.admits(spec);
    if let Some(meant) = table::meant(key, admits) {
        return format!("unknown setting `{key}`: {}", meant.hint(key));
    }
    let known = table::TABLE.iter().filter(|spec| admits(spec));
    let known: Vec<String> = known.map(|spec| format!("`{}`", spec.name)).collect();
    format!(
        "unknown setting `{key}`; the settings are {}",
        known.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::{On, unknown};

    #[test]
    fn a_parameter_is_never_offered_what_it_cannot_take() {
        assert!(unknown("signal", On::Function).ends_with("did you mean `signals`?"));
        assert!(!unknown("signal", On::Parameter).contains("signals"));
        assert!(!unknown("xyz", On::Parameter).contains("flavor"));
    }
}
