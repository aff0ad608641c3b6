//! Names of engines and nodes, and of their sections and variables.

use std::borrow::Borrow;

use super::table;

/// The engine without a name.
pub(crate) const DEFAULT_ENGINE: &str = "default";

/// The known name that `name` most likely misspells.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    table::closest(name, known.into_iter().map(|known| (known, known)))
}

/// These names, separated by commas, or `none`.
pub(crate) fn list_or_none(names: &[impl Borrow<str>]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

/// The variable that sets `setting` for `engine`: `POOLHOUSE_MAX_SIZE`, `POOLHOUSE_REPORTS_MAX_SIZE`.
pub(super) fn variable(engine: &str, setting: &str) -> String {
    format!("{}{}", variable_prefix(engine), upper(setting))
}

/// The prefix of the variables of an engine's settings.
pub(super) fn variable_prefix(engine: &str) -> String {
    if engine == DEFAULT_ENGINE {
        "POOLHOUSE_".to_owned()
    } else {
        format!("POOLHOUSE_{}_", upper(engine))
    }
}

/// The variable that holds the URL when the setting `env` does not name another one.
pub(super) fn url_variable(engine: &str) -> String {
    if engine == DEFAULT_ENGINE {
        "DATABASE_URL".to_owned()
    } else {
        format!("{}_DATABASE_URL", upper(engine))
    }
}

/// The name of a node in the variables of its settings: `POOLHOUSE_REPORTS_NODES_REPLICA1_MAX_SIZE`.
pub(super) fn node_in_variables(engine: &str, node: &str) -> String {
    if engine == DEFAULT_ENGINE {
        format!("nodes_{node}")
    } else {
        format!("{engine}_nodes_{node}")
    }
}

/// The section of the file that belongs to an engine.
pub(crate) fn section(engine: &str) -> String {
    if engine == DEFAULT_ENGINE {
        "[engine]".to_owned()
    } else {
        format!("[engines.{engine}]")
    }
}

/// A name as a part of a variable: `my-reports` becomes `MY_REPORTS`.
fn upper(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect()
}
