//! Settings as calls of the builder in the runtime crate.

use crate::settings::literal::bare;
use crate::settings::{Directory, Fixture, Setting, SettingValue};
use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote, quote_spanned};

use syn::spanned::Spanned;
use syn::{Expr, LitStr};

/// `.max_size(20)`. Everything except the value has the span of the key, whose line the runtime reports as the source.
///
/// A value that is one of the caller's `parameters` is cloned, because the body gets the parameter.
pub(crate) fn setter(
    Setting { key, spec, value }: &Setting,
    parameters: &[&Ident],
) -> Option<TokenStream> {
    let (name, arguments) = match value {
        SettingValue::Text(_, expr) | SettingValue::Number(_, expr) | SettingValue::Code(expr) => {
            (spec.name, kept(expr, parameters))
        }
        // The type of an empty list has to be written.
        SettingValue::List(list) if list.is_empty() => (spec.name, quote!([""; 0])),
        SettingValue::List(list) => {
            let list = list.iter().map(|expr| kept(expr, parameters));
            (spec.name, quote!([#(#list),*]))
        }
        SettingValue::Static(path) => (spec.name, quote_spanned!(path.span()=> &#path)),
        SettingValue::Directory(directory) => ("embedded_migrations", embedded(directory)),
        SettingValue::NoMigrations => ("no_migrations", TokenStream::new()),
        SettingValue::Fixtures(fixtures) => {
            return Some(fixtures.iter().map(fixture_setter).collect());
        }
        SettingValue::CratePath(_) => return None,
    };
    let name = Ident::new(name, key.span());
    Some(quote_spanned!(key.span()=> .#name(#arguments)))
}

/// The value, or a clone of it when it is one of the parameters, which are used again.
pub(crate) fn kept(value: &Expr, parameters: &[&Ident]) -> TokenStream {
    match bare(value) {
        Expr::Path(path)
            if path
                .path
                .get_ident()
                .is_some_and(|name| parameters.contains(&name)) =>
        {
            // As an argument, the clone would report a wrong type as that of a reference.
            quote_spanned!(value.span()=> { let kept = ::core::clone::Clone::clone(&#value); kept })
        }
        _ => value.to_token_stream(),
    }
}

/// `.embedded_fixture("fixtures/bands.sql", include_str!("fixtures/bands.sql"))` or `.fixture_fn("seed", seed)`
fn fixture_setter(fixture: &Fixture) -> TokenStream {
    match fixture {
        Fixture::File { written, path } => {
            let path = LitStr::new(path, written.span());
            quote_spanned!(written.span()=> .embedded_fixture(#path, ::core::include_str!(#path)))
        }
        Fixture::Function(path) => {
            let name = path.to_token_stream().to_string().replace(' ', "");
            quote_spanned!(path.span()=> .fixture_fn(#name, #path))
        }
    }
}

/// `"migrations", &[("0001_bands.sql", include_str!(…)), …]`
pub(crate) fn embedded(directory: &Directory) -> TokenStream {
    let written = &directory.written;
    let files = directory.files.iter().map(|name| {
        let path = format!("{}/{name}", written.value().trim_end_matches('/'));
        let path = if directory.is_absolute() {
            quote!(#path)
        } else {
            let path = format!("/{path}");
            quote!(::core::concat!(::core::env!("CARGO_MANIFEST_DIR"), #path))
        };
        quote_spanned!(written.span()=> (#name, ::core::include_str!(#path)))
    });
    let sqlx_toml = directory.has_sqlx_toml.then(|| {
        let file = quote!(::core::concat!(
            ::core::env!("CARGO_MANIFEST_DIR"),
            "/sqlx.toml"
        ));
        quote_spanned!(written.span()=> ("sqlx.toml", ::core::include_str!(#file)))
    });
    let files = files.chain(sqlx_toml);
    quote!(#written, &[#(#files),*])
}
