//! Lists the public API, so that a review sees every change of it.
//!
//! The listing has every item that the crate's root makes public: types with their public fields, traits, functions without
//! bodies, and hand-written implementations. A macro call that implements something for a public type is listed as written. Items
//! with `#[doc(hidden)]` are not public.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{
    Attribute, Block, Field, Fields, File, ImplItem, Item, ItemImpl, TraitItem, Type, Visibility,
    parse_quote,
};

use crate::source::{ModulePath, Source, Use, attributes, flatten};

/// The listing of a crate.
///
/// # Errors
///
/// A public name whose definition is not found.
pub fn listing(source: &Source) -> anyhow::Result<String> {
    let mut public = Public::default();
    public.module(source, &vec![], "")?;
    let mut listing = String::new();
    for (name, items) in &public.items {
        listing.extend(["// ", name.as_str(), "\n\n"]);
        let ident = name.rsplit("::").next().unwrap_or(name);
        let mut impls = public.implementations(source, ident);
        impls.sort_by_cached_key(print);
        for item in items.iter().chain(&impls) {
            listing += &print(item);
            listing.push('\n');
        }
    }
    Ok(listing)
}

fn print(item: &Item) -> String {
    prettyplease::unparse(&File {
        shebang: None,
        frontmatter: None,
        attrs: vec![],
        items: vec![item.clone()],
    })
}

/// The public items of a crate, by their paths.
#[derive(Default)]
struct Public {
    items: BTreeMap<String, Vec<Item>>,
}

impl Public {
    fn module(&mut self, source: &Source, path: &ModulePath, shown: &str) -> anyhow::Result<()> {
        let module = source.get(path).context("no such module")?;
        for item in &module.items {
            if is_hidden(attributes(item)) {
                continue;
            }
            match item {
                Item::Use(item) if is_public(&item.vis) => {
                    let mut uses = vec![];
                    flatten(&item.tree, &mut vec![], &mut uses);
                    for import in uses {
                        self.reexport(source, path, shown, &import, &item.attrs)?;
                    }
                }
                Item::Mod(item) if is_public(&item.vis) => {
                    let name = item.ident.to_string();
                    let child: ModulePath = path.iter().cloned().chain([name.clone()]).collect();
                    self.module(source, &child, &format!("{shown}{name}::"))?;
                }
                item => {
                    if let Some((name, item)) = face(item) {
                        self.items
                            .entry(format!("{shown}{name}"))
                            .or_default()
                            .push(item);
                    }
                }
            }
        }
        Ok(())
    }

    fn reexport(
        &mut self,
        source: &Source,
        path: &ModulePath,
        shown: &str,
        import: &Use,
        attributes: &[Attribute],
    ) -> anyhow::Result<()> {
        let written = import.path.join("::");
        let name = import
            .name
            .as_ref()
            .context("`pub use …::*` names nothing")?;
        let definition = source.definition(path, &import.path);
        if let Some((module, rest)) = &definition
            && rest.is_empty()
        {
            return self.module(source, module, &format!("{shown}{name}::"));
        }
        let items = self.items.entry(format!("{shown}{name}")).or_default();
        let Some((module, rest)) = definition else {
            // An item of another crate.
            let target: syn::Path = syn::parse_str(&written)?;
            let ident: syn::Ident = syn::parse_str(name)?;
            let same = target
                .segments
                .last()
                .is_some_and(|last| last.ident == ident);
            items.push(if same {
                parse_quote!(pub use #target;)
            } else {
                parse_quote!(pub use #target as #ident;)
            });
            return Ok(());
        };
        if rest.is_empty() {
            // A module. Its items are listed where it is public.
            let target: syn::Path = syn::parse_str(&written)?;
            items.push(parse_quote!(pub use #target;));
            return Ok(());
        }
        let [defined] = rest.as_slice() else {
            anyhow::bail!("`{written}` is a part of an item")
        };
        let module = source.get(&module).context("no such module")?;
        let conditions: Vec<&Attribute> = attributes.iter().filter(|it| is_condition(it)).collect();
        let before = items.len();
        for item in &module.items {
            if let Some((name, mut item)) = face(item)
                && name == *defined
            {
                if let Some(attributes) = attributes_mut(&mut item) {
                    attributes.splice(0..0, conditions.iter().copied().cloned());
                }
                items.push(item);
            }
        }
        ensure!(
            items.len() > before,
            "`{written}` has no definition that can be read"
        );
        Ok(())
    }

    /// The implementations for a public type or of a public trait.
    fn implementations(&self, source: &Source, name: &str) -> Vec<Item> {
        let is_type =
            |item: &Item| matches!(item, Item::Struct(_) | Item::Enum(_) | Item::Trait(_));
        let mut items = self.items.iter();
        let is_ours = items.any(|(path, items)| path.ends_with(name) && items.iter().any(is_type));
        if !is_ours {
            return vec![];
        }
        let mut found = vec![];
        for (_, module) in source.modules() {
            for item in &module.items {
                match item {
                    Item::Impl(item) if is_about(item, name) => found.extend(implementation(item)),
                    Item::Macro(item)
                        if item.ident.is_none() && mentions(&item.mac.tokens, name) =>
                    {
                        let mut item = item.clone();
                        item.attrs.retain(is_kept);
                        found.push(Item::Macro(item));
                    }
                    _ => {}
                }
            }
        }
        found
    }
}

/// The name of a public item, and its public part.
fn face(item: &Item) -> Option<(String, Item)> {
    let mut item = item.clone();
    if is_hidden(attributes(&item)) {
        return None;
    }
    let (name, visibility) = match &mut item {
        Item::Const(item) => (&item.ident, &item.vis),
        Item::Enum(item) => {
            for variant in &mut item.variants {
                variant.attrs.retain(is_kept);
                for field in &mut variant.fields {
                    field.attrs.retain(is_kept);
                }
            }
            (&item.ident, &item.vis)
        }
        Item::Fn(item) => {
            *item.block = empty();
            (&item.sig.ident, &item.vis)
        }
        Item::Macro(item) => (item.ident.as_ref()?, &Visibility::Inherited),
        Item::Static(item) => (&item.ident, &item.vis),
        Item::Struct(item) => {
            fields(&mut item.fields);
            (&item.ident, &item.vis)
        }
        Item::Trait(item) => {
            item.items.retain_mut(|item| match item {
                TraitItem::Fn(item) => {
                    item.attrs.retain(|it| is_kept(it) || is_hiding(it));
                    if item.default.is_some() {
                        item.default = Some(empty());
                    }
                    !is_hidden(&item.attrs)
                }
                TraitItem::Type(item) => {
                    item.attrs.retain(|it| is_kept(it) || is_hiding(it));
                    !is_hidden(&item.attrs)
                }
                TraitItem::Const(item) => {
                    item.attrs.retain(|it| is_kept(it) || is_hiding(it));
                    !is_hidden(&item.attrs)
                }
                _ => true,
            });
            (&item.ident, &item.vis)
        }
        Item::Type(item) => (&item.ident, &item.vis),
        _ => return None,
    };
    if !is_public(visibility) {
        return None;
    }
    let name = name.to_string();
    attributes_mut(&mut item)?.retain(is_kept);
    Some((name, item))
}

/// Replaces private fields by a placeholder.
fn fields(fields: &mut Fields) {
    let all = fields.len();
    match fields {
        Fields::Named(named) => {
            let public = named.named.iter().filter(|field| is_public(&field.vis));
            named.named = public.cloned().map(bare).collect();
            if named.named.len() < all {
                let private: Field = parse_quote!(_private: ());
                named.named.push(private);
            }
        }
        Fields::Unnamed(unnamed) => {
            let each = unnamed.unnamed.iter().cloned();
            unnamed.unnamed = each
                .map(|field| {
                    if is_public(&field.vis) {
                        bare(field)
                    } else {
                        parse_quote!(())
                    }
                })
                .collect();
        }
        Fields::Unit => {}
    }
}

fn bare(mut field: Field) -> Field {
    field.attrs.retain(is_kept);
    field
}

/// The public part of an implementation.
fn implementation(item: &ItemImpl) -> Option<Item> {
    let mut item = item.clone();
    item.attrs.retain(is_kept);
    let is_trait = item.trait_.is_some();
    item.items.retain_mut(|item| match item {
        ImplItem::Fn(item) => {
            let keeps = !is_trait && is_public(&item.vis) && !is_hidden(&item.attrs);
            item.attrs.retain(is_kept);
            item.block = empty();
            keeps
        }
        ImplItem::Const(item) => {
            let keeps = !is_trait && is_public(&item.vis) && !is_hidden(&item.attrs);
            item.attrs.retain(is_kept);
            keeps
        }
        ImplItem::Type(item) => {
            item.attrs.retain(is_kept);
            true
        }
        _ => false,
    });
    (is_trait || !item.items.is_empty()).then_some(Item::Impl(item))
}

/// Whether an implementation is for this type or of this trait.
fn is_about(item: &ItemImpl, name: &str) -> bool {
    if is_hidden(&item.attrs) {
        return false;
    }
    let of_trait = item
        .trait_
        .as_ref()
        .and_then(|(path, _)| path.segments.last());
    let for_type = match &*item.self_ty {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    };
    if of_trait.is_some_and(|of| of.ident == "Sealed") {
        return false;
    }
    [of_trait, for_type]
        .into_iter()
        .flatten()
        .any(|segment| segment.ident == name)
}

fn mentions(tokens: &TokenStream, name: &str) -> bool {
    tokens.clone().into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == name,
        TokenTree::Group(group) => mentions(&group.stream(), name),
        _ => false,
    })
}

fn attributes_mut(item: &mut Item) -> Option<&mut Vec<Attribute>> {
    Some(match item {
        Item::Const(item) => &mut item.attrs,
        Item::Enum(item) => &mut item.attrs,
        Item::Fn(item) => &mut item.attrs,
        Item::Static(item) => &mut item.attrs,
        Item::Struct(item) => &mut item.attrs,
        Item::Trait(item) => &mut item.attrs,
        Item::Type(item) => &mut item.attrs,
        _ => return None,
    })
}

fn empty() -> Block {
    parse_quote!({})
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Whether an attribute changes what users of the item can do.
fn is_kept(attribute: &Attribute) -> bool {
    let kept = [
        "cfg",
        "derive",
        "non_exhaustive",
        "must_use",
        "deprecated",
        "track_caller",
    ];
    kept.iter().any(|name| attribute.path().is_ident(name))
}

fn is_condition(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
}

fn is_hiding(attribute: &Attribute) -> bool {
    attribute.path().is_ident("doc")
        && attribute.meta.to_token_stream().to_string() == "doc (hidden)"
}

fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().any(is_hiding)
}
