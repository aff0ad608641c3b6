//! `#[transactional]`, in the stages of `#[with_pool]`.
//!
//! `arguments` checks the attribute's arguments, `method` reads the function, and `check` compares both. Then `expand`
//! emits the function, or `fallback` one with mistakes.

mod arguments;
mod check;
mod expand;
mod fallback;
mod method;

use crate::args::{self, Wording};
use crate::report::Report;
use arguments::Arguments;
use check::CheckedTransactional;
use method::Method;
use proc_macro2::TokenStream;

const WORDING: Wording = Wording {
    entry: "an argument",
    example: "`retries = 3`",
    quoted: ", such as `isolation = \"serializable\"`",
};

/// The whole macro, from tokens to tokens.
pub(crate) fn expand(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut report = Report::default();
    let args = args::parse(args, &WORDING, &mut report);
    let arguments = Arguments::check(args, &mut report);
    let method = Method::parse(item, &mut report);
    let output = match check::check(method, arguments, &mut report) {
        CheckedTransactional::Method(method, arguments) => expand::expand(&method, &arguments),
        CheckedTransactional::Mistaken(method) => fallback::fallback(&method),
        CheckedTransactional::Other(item) => item,
    };
    report.finish(output)
}
