//! The attribute of poolhouse.

mod args;
mod check;
mod expand;
mod function;
mod mend;
mod report;
mod settings;

use function::Function;
use proc_macro2::TokenStream;
use report::Report;
use settings::{On, Settings};

/// Gives a function its database.
#[proc_macro_attribute]
pub fn with_pool(
    args: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    expand(args.into(), item.into()).into()
}

/// The whole macro: each stage passes on what the next one needs, and reports what it cannot accept.
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
