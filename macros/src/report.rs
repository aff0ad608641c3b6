//! The collected mistakes: every stage adds to them, and the last step emits them.

use proc_macro2::TokenStream;
use quote::ToTokens;
use std::fmt::Display;

/// All mistakes found so far, each with the tokens that it is about.
///
/// Dropping a report without [`finish`](Report::finish) panics, because it would lose the mistakes, and the user would
/// get another program than the written one. So a stage that forgets to finish fails the first test that reaches it.
#[derive(Default)]
pub(crate) struct Report {
    mistakes: Vec<syn::Error>,
    finished: bool,
}

impl Report {
    /// Adds a mistake found at `tokens`, which must not be empty, because the message has their span.
    pub(crate) fn mistake(&mut self, tokens: impl ToTokens, message: impl Display) {
        self.add(syn::Error::new_spanned(tokens, message));
    }

    /// Adds a mistake that has its span already.
    pub(crate) fn add(&mut self, mistake: syn::Error) {
        self.mistakes.push(mistake);
    }

    /// The value of a step that can fail, or `None`; the mistake is added.
    pub(crate) fn keep<T>(&mut self, step: syn::Result<T>) -> Option<T> {
        step.map_err(|mistake| self.add(mistake)).ok()
    }

    /// The number of mistakes, to detect whether a stage added any.
    pub(crate) fn len(&self) -> usize {
        self.mistakes.len()
    }

    /// Ends the report: `output` followed by one `compile_error!` for each mistake.
    pub(crate) fn finish(mut self, output: TokenStream) -> TokenStream {
        self.finished = true;
        let errors = self.mistakes.iter().map(syn::Error::to_compile_error);
        output.into_iter().chain(errors.flatten()).collect()
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        // A second panic while one unwinds would abort and hide the first.
        let finished = self.finished || std::thread::panicking();
        assert!(
            finished,
            "a report of {} mistakes was dropped unfinished",
            self.mistakes.len()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::Report;
    use quote::quote;

    #[test]
    fn every_mistake_becomes_a_compile_error_after_the_output() {
        let mut report = Report::default();
        report.mistake(quote!(a), "first");
        report.mistake(quote!(b), "second");
        assert_eq!(report.len(), 2);
        let output = report
            .finish(quote!(
                fn kept() {}
            ))
            .to_string();
        assert_eq!(
            output,
            "fn kept () { } :: core :: compile_error ! { \"first\" } :: core :: compile_error ! { \"second\" }"
        );
    }

    #[test]
    #[should_panic(expected = "a report of 1 mistakes was dropped unfinished")]
    fn an_unfinished_report_fails_loudly() {
        let mut report = Report::default();
        report.mistake(quote!(lost), "lost");
    }

    #[test]
    #[should_panic(expected = "a report of 0 mistakes was dropped unfinished")]
    fn an_unfinished_report_fails_loudly_even_when_empty() {
        drop(Report::default());
    }
}
