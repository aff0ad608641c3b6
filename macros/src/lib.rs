//! The attributes of [poolhouse](https://docs.rs/poolhouse), which re-exports them as `poolhouse::with_pool` and
//! `poolhouse::transactional`.
//!
//! Each stage has a file: `args` reads the attribute's tokens, `settings` checks them against the `table`, `function`
//! reads the item and finds its `position`, and `check` compares both. Then `expand` emits the function, with its settings
//! as `setters`, or `fallback` one with mistakes. Each mistake is added to the `report`, which becomes the compile errors
//! after the output. A setting with a mistake is left out and the function is still emitted, so that editors can analyse
//! it. `transactional` has its own stages of the same kind.

mod args;
mod check;
mod expand;
mod fallback;
mod function;
mod pattern;
mod position;
mod report;
mod setters;
mod settings;
#[allow(dead_code, reason = "the runtime needs more of the table")]
mod table;
mod transactional;

use check::Checked;
use function::Function;
use proc_macro2::TokenStream;
use report::Report;
use settings::{On, Settings};

#[doc = include_str!("with_pool.md")]
#[proc_macro_attribute]
pub fn with_pool(
    args: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    expand(args.into(), item.into()).into()
}

#[doc = include_str!("transactional.md")]
#[proc_macro_attribute]
pub fn transactional(
    args: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    transactional::expand(args.into(), item.into()).into()
}

/// The table of settings, for `poolhouse` alone. Not for other use: it changes without notice.
#[doc(hidden)]
#[proc_macro]
pub fn settings_table(_: proc_macro::TokenStream) -> proc_macro::TokenStream {
    // The tests below read the same text, so it parses.
    include_str!("table.rs").parse().unwrap_or_default()
}

/// The whole macro, from tokens to tokens.
fn expand(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut report = Report::default();
    let args = args::parse(args, &args::SETTINGS, &mut report);
    let source = function::source_file(&item);
    let settings = Settings::check(args, On::Function, source.as_deref(), &mut report);
    let function = Function::parse(item, &mut report);
    let output = match check::check(function, settings, &mut report) {
        Checked::Function(function, settings) => expand::expand(&function, &settings),
        Checked::Mistaken(function) => fallback::fallback(function),
        Checked::Other(item) => item,
    };
    report.finish(output)
}

#[cfg(test)]
mod tests;
