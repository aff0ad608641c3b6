//! Finds the files that each file of a crate uses.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, ItemMod, ItemUse, Macro, Stmt, Visibility};

use crate::source::{Module, ModulePath, Source, attributes, flatten, is_for_tests};

/// Maps each file to the files that it uses, each with a path in its source.
pub type Imports = BTreeMap<PathBuf, BTreeMap<PathBuf, String>>;

/// Reads the uses of all files of a crate.
///
/// A use counts for the file that defines the item, through all re-exports. Tables of contents use nothing themselves.
pub fn imports(source: &Source) -> Imports {
    let mut imports = Imports::new();
    for (path, module) in source.modules() {
        let mut reader = Reader {
            source,
            path,
            found: BTreeSet::new(),
        };
        if !is_contents(module) {
            for item in &module.items {
                reader.visit_item(item);
            }
        }
        let uses = imports.entry(module.file.clone()).or_default();
        for written in reader.found {
            let definition = source
                .definition(path, &written)
                .and_then(|(module, _)| source.get(&module));
            if let Some(used) = definition
                && used.file != module.file
                && !is_contents(used)
            {
                uses.entry(used.file.clone())
                    .or_insert_with(|| written.join("::"));
            }
        }
    }
    imports
}

/// Whether a module is a table of contents: the root of a crate or folder that declares modules and re-exports names.
pub fn is_contents(module: &Module) -> bool {
    let is_root = module.file.ends_with("mod.rs") || module.file.ends_with("lib.rs");
    let mut items = module.items.iter();
    is_root
        && items.all(|item| match item {
            Item::Use(_) => true,
            Item::Mod(module) => module.content.is_none(),
            _ => false,
        })
}

/// Collects the paths of one module that may lead to another one.
struct Reader<'a> {
    source: &'a Source,
    path: &'a ModulePath,
    found: BTreeSet<Vec<String>>,
}

impl Reader<'_> {
    /// Finds the paths in unparsed tokens: those of a macro call.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = vec![];
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.path(&std::mem::take(&mut path));
                    }
                    colons = 0;
                    path.push(ident.to_string());
                }
                other => {
                    self.path(&std::mem::take(&mut path));
                    colons = 0;
                    if let TokenTree::Group(group) = other
                        && group.delimiter() != Delimiter::None
                    {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.path(&path);
    }

    /// A single name is declared here or imported, and the import is read separately.
    fn path(&mut self, path: &[String]) {
        if path.len() > 1 && self.source.definition(self.path, path).is_some() {
            self.found.insert(path.to_vec());
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Const(item) => &item.attrs,
            ImplItem::Fn(item) => &item.attrs,
            _ => &vec![],
        };
        if !is_for_tests(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        if let Stmt::Local(local) = statement
            && is_for_tests(&local.attrs)
        {
            return;
        }
        visit::visit_stmt(self, statement);
    }

    /// An inline module is read separately.
    fn visit_item_mod(&mut self, _: &'ast ItemMod) {}

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let mut uses = vec![];
        flatten(&item.tree, &mut vec![], &mut uses);
        self.found
            .extend(uses.into_iter().map(|import| import.path));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter();
        let segments: Vec<String> = segments.map(|segment| segment.ident.to_string()).collect();
        if path.leading_colon.is_none() {
            self.path(&segments);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, invocation: &'ast Macro) {
        self.visit_path(&invocation.path);
        self.tokens(invocation.tokens.clone());
    }

    /// `pub(in crate::settings)` uses nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    /// Links in documentation use nothing.
    fn visit_attribute(&mut self, _: &'ast Attribute) {}
}
