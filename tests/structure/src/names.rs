//! The names of types and methods: no name for two types, and no private method that hides one of sqlx.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use syn::{ImplItem, Item, Type, Visibility};

use crate::source::Source;

/// The public methods of `sqlx::Pool`, of its connections and of its transactions. If a private method of ours has such a name, a
/// program that migrates from sqlx gets "method is private".
pub const OF_SQLX: &[&str] = &[
    "acquire",
    "any_kind",
    "begin",
    "begin_with",
    "clear_cached_statements",
    "close",
    "close_event",
    "close_hard",
    "close_on_drop",
    "commit",
    "connect_options",
    "describe",
    "detach",
    "execute",
    "execute_many",
    "fetch",
    "fetch_all",
    "fetch_many",
    "fetch_one",
    "fetch_optional",
    "is_closed",
    "is_in_transaction",
    "leak",
    "num_idle",
    "options",
    "ping",
    "prepare",
    "prepare_with",
    "rollback",
    "set_connect_options",
    "shrink_buffers",
    "size",
    "transaction",
    "try_acquire",
    "try_begin",
    "try_begin_with",
];

/// The names of types that are declared in more than one file, with these files.
pub fn shared_types(source: &Source) -> BTreeMap<String, BTreeSet<PathBuf>> {
    let mut files: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    for (_, module) in source.modules() {
        for item in &module.items {
            let name = match item {
                Item::Enum(item) => &item.ident,
                Item::Struct(item) => &item.ident,
                Item::Trait(item) => &item.ident,
                Item::Type(item) => &item.ident,
                Item::Union(item) => &item.ident,
                _ => continue,
            };
            let declared = files.entry(name.to_string()).or_default();
            declared.insert(module.file.clone());
        }
    }
    files.retain(|_, files| files.len() > 1);
    files
}

/// The private methods of these types with a name of [`OF_SQLX`]: `Type::method`.
pub fn hiding_methods(source: &Source, types: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, module) in source.modules() {
        for item in &module.items {
            let Item::Impl(item) = item else { continue };
            let Type::Path(path) = &*item.self_ty else {
                continue;
            };
            let Some(name) = path.path.segments.last() else {
                continue;
            };
            let name = name.ident.to_string();
            if item.trait_.is_some() || !types.contains(&name.as_str()) {
                continue;
            }
            for method in &item.items {
                if let ImplItem::Fn(method) = method
                    && !matches!(method.vis, Visibility::Public(_))
                    && OF_SQLX.contains(&method.sig.ident.to_string().as_str())
                    && method.sig.receiver().is_some()
                {
                    found.insert(format!("{name}::{}", method.sig.ident));
                }
            }
        }
    }
    found
}
