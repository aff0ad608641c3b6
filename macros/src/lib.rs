//! The attribute of [poolhouse](https://docs.rs/poolhouse), which re-exports it as `poolhouse::with_pool`.
//!
//! The stages stand in the order in which they run; each has a file of its own. What they find wrong they put into one
//! report, which becomes the compile errors behind the expansion.

mod args;
mod check;
mod expand;
mod function;
mod mend;
mod position;
mod report;
mod setters;
mod settings;
#[allow(dead_code, reason = "the runtime needs more of the table")]
mod table;

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
    let args = args::parse(args, &mut report);
    let settings = Settings::check(args, On::Function, &mut report);
    let function = Function::parse(item, &mut report);
    let job = check::check(function, settings, &mut report);
    report.finish(expand::expand(job))
}

#[cfg(test)]
mod tests;
