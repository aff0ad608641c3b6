//! The bound of closures that a transaction runs.

use std::future::Future;

/// What a transaction can run: an async closure such as `async |tx| { … }`, or a function.
///
/// It is implemented for each of them, and for nothing else.
///
/// # Why it exists
///
/// A transaction needs a closure whose future may borrow the transaction and what is around the closure, and is `Send`.
/// `AsyncFnOnce(A) -> R` says the first, but stable Rust has no way yet to name its future and to ask that it be `Send`
/// (return type notation, <https://github.com/rust-lang/rust/issues/109417>). An async closure also implements
/// `FnOnce(A) -> impl Future`, whose future can be named with an associated type; that bound alone would not let the compiler
/// infer that the closure may borrow. Both together do. When the language can say it, this trait can go.
#[diagnostic::on_unimplemented(
    message = "a transaction cannot run this",
    label = "not an async closure of one `&mut Transaction`",
    note = "write `async |tx| {{ …; Ok(()) }}`, or `async move |tx| {{ … }}` for a closure that a spawned task owns; a boxed future is written no more"
)]
pub trait Work<A, R>: AsyncFnOnce(A) -> R + FnOnce(A) -> <Self as Work<A, R>>::Fut {
    /// The closure's future.
    type Fut: Future<Output = R>;
}

impl<F, A, R, Fut> Work<A, R> for F
where
    F: AsyncFnOnce(A) -> R + FnOnce(A) -> Fut,
    Fut: Future<Output = R>,
{
    type Fut = Fut;
}

/// Where a transaction gets the work of its next try from.
pub(super) trait Tries<F> {
    fn next(&mut self) -> Option<F>;
}

/// A clone of the work for each try.
pub(super) struct Again<F>(pub(super) F);

impl<F: Clone> Tries<F> for Again<F> {
    fn next(&mut self) -> Option<F> {
        Some(self.0.clone())
    }
}

/// One try, for work that cannot be had twice.
pub(super) struct Once<F>(pub(super) Option<F>);

impl<F> Tries<F> for Once<F> {
    fn next(&mut self) -> Option<F> {
        self.0.take()
    }
}
