//! The modules of a crate: their files, declarations and imports.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use syn::punctuated::Punctuated;
use syn::{Attribute, Item, Meta, MetaList, Token, UseTree};

/// The path of a module from the crate's root, without `crate`.
pub type ModulePath = Vec<String>;

/// The source of a crate, without items under `#[cfg(test)]`.
#[derive(Debug)]
pub struct Source {
    modules: BTreeMap<ModulePath, Module>,
}

/// A module.
#[derive(Debug)]
pub struct Module {
    /// The file, relative to the crate's `src`.
    pub file: PathBuf,
    /// The module's items. Those of an inline module belong to that module.
    pub items: Vec<Item>,
    uses: Vec<Use>,
}

/// A name that a `use` imports.
#[derive(Debug)]
pub struct Use {
    /// The imported name; `None` for `*`.
    pub name: Option<String>,
    /// The path of its origin, as written.
    pub path: Vec<String>,
}

impl Source {
    /// Reads a crate whose root is `lib.rs` in this directory.
    ///
    /// # Errors
    ///
    /// A file that is not there or is not Rust.
    pub fn read(directory: &Path) -> anyhow::Result<Self> {
        let mut source = Self {
            modules: BTreeMap::new(),
        };
        source.file(directory, Path::new("lib.rs"), vec![])?;
        Ok(source)
    }

    fn file(&mut self, root: &Path, file: &Path, path: ModulePath) -> anyhow::Result<()> {
        let shown = root.join(file);
        let text = std::fs::read_to_string(&shown).with_context(|| shown.display().to_string())?;
        let parsed = syn::parse_file(&text).with_context(|| shown.display().to_string())?;
        // The directory with the files of its modules.
        let below = match file.file_name().and_then(|name| name.to_str()) {
            Some("lib.rs" | "mod.rs") => file.parent().unwrap_or(Path::new("")).to_owned(),
            _ => file.with_extension(""),
        };
        self.module(root, file, &below, path, parsed.items)
    }

    fn module(
        &mut self,
        root: &Path,
        file: &Path,
        below: &Path,
        path: ModulePath,
        items: Vec<Item>,
    ) -> anyhow::Result<()> {
        let mut own = vec![];
        for item in items {
            if is_for_tests(attributes(&item)) {
                continue;
            }
            if let Item::Mod(module) = &item {
                let name = module.ident.to_string();
                let child: ModulePath = path.iter().cloned().chain([name.clone()]).collect();
                if let Some((_, items)) = &module.content {
                    self.module(root, file, &below.join(&name), child, items.clone())?;
                } else {
                    let beside = below.join(&name).with_extension("rs");
                    let inside = below.join(&name).join("mod.rs");
                    let is_beside = root.join(&beside).is_file();
                    self.file(root, if is_beside { &beside } else { &inside }, child)?;
                }
            }
            own.push(item);
        }
        let mut uses = vec![];
        for item in &own {
            if let Item::Use(item) = item {
                flatten(&item.tree, &mut vec![], &mut uses);
            }
        }
        let module = Module {
            file: file.to_owned(),
            items: own,
            uses,
        };
        self.modules.insert(path, module);
        Ok(())
    }

    /// All modules.
    pub fn modules(&self) -> impl Iterator<Item = (&ModulePath, &Module)> {
        self.modules.iter()
    }

    /// A module.
    pub fn get(&self, path: &[String]) -> Option<&Module> {
        self.modules.get(path)
    }

    /// Finds the definition behind a path in this module: the defining module and the rest of the path. `None` for another
    /// crate's.
    pub fn definition(
        &self,
        from: &ModulePath,
        path: &[String],
    ) -> Option<(ModulePath, Vec<String>)> {
        self.find(from, path, 0)
    }

    fn find(
        &self,
        from: &ModulePath,
        path: &[String],
        depth: usize,
    ) -> Option<(ModulePath, Vec<String>)> {
        // More than any chain of re-exports. Two modules may import all of each other.
        if depth > 20 {
            return None;
        }
        let mut module = from.clone();
        let mut rest = path;
        let mut is_absolute = false;
        while let [first, others @ ..] = rest {
            match first.as_str() {
                "crate" => module = vec![],
                "self" => {}
                "super" => {
                    module.pop()?;
                }
                _ => break,
            }
            is_absolute = true;
            rest = others;
        }
        let [first, others @ ..] = rest else {
            return Some((module, vec![]));
        };
        let child: ModulePath = module.iter().cloned().chain([first.clone()]).collect();
        if self.modules.contains_key(&child) {
            let own: Vec<String> = ["self".to_owned()]
                .into_iter()
                .chain(others.to_vec())
                .collect();
            return self.find(&child, &own, depth + 1);
        }
        let here = self.modules.get(&module)?;
        if here.items.iter().any(|item| declares(item, first)) {
            return Some((module, rest.to_vec()));
        }
        for import in &here.uses {
            let matches = import.name.as_deref() == Some(first);
            // `use log::…` names another crate, although a function `log` may be imported here.
            if matches && import.path != [first.clone()] {
                let target: Vec<String> = import.path.iter().chain(others).cloned().collect();
                return self.find(&module, &target, depth + 1);
            }
        }
        for import in here.uses.iter().filter(|import| import.name.is_none()) {
            let target: Vec<String> = import.path.iter().chain(rest).cloned().collect();
            if import.path != [first.clone()]
                && let Some(found) = self.find(&module, &target, depth + 1)
            {
                return Some(found);
            }
        }
        // An item that a macro declares, or another crate's.
        is_absolute.then(|| (module, rest.to_vec()))
    }
}

/// The names that a `use` imports.
pub fn flatten(tree: &UseTree, path: &mut Vec<String>, into: &mut Vec<Use>) {
    match tree {
        UseTree::Path(tree) => {
            path.push(tree.ident.to_string());
            flatten(&tree.tree, path, into);
            path.pop();
        }
        UseTree::Name(tree) => {
            let mut path = path.clone();
            if tree.ident != "self" {
                path.push(tree.ident.to_string());
            }
            let name = path.last().cloned();
            into.push(Use { name, path });
        }
        UseTree::Rename(tree) => {
            let mut path = path.clone();
            if tree.ident != "self" {
                path.push(tree.ident.to_string());
            }
            let name = Some(tree.rename.to_string());
            into.push(Use { name, path });
        }
        UseTree::Glob(_) => into.push(Use {
            name: None,
            path: path.clone(),
        }),
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, path, into);
            }
        }
    }
}

/// Whether an item declares this name.
fn declares(item: &Item, name: &str) -> bool {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Macro(item) => match &item.ident {
            Some(ident) => ident,
            None => return false,
        },
        _ => return false,
    };
    ident == name
}

/// The attributes of an item.
pub fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether attributes limit an item to tests: `test`, or `all(test, …)`.
pub fn is_for_tests(attributes: &[Attribute]) -> bool {
    fn needs_test(condition: &Meta) -> bool {
        match condition {
            Meta::Path(path) => path.is_ident("test"),
            Meta::List(list) if list.path.is_ident("all") => {
                conditions(list).iter().any(needs_test)
            }
            _ => false,
        }
    }
    fn conditions(list: &MetaList) -> Vec<Meta> {
        let parsed = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
        parsed.into_iter().flatten().collect()
    }
    let mut cfgs = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"));
    cfgs.any(|attribute| match &attribute.meta {
        Meta::List(list) => conditions(list).iter().any(needs_test),
        _ => false,
    })
}
